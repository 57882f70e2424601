//! Foreign code: the functions that jobs call, and the places where they run.

mod command;
mod directories;
mod native;
mod parameters;
mod pool;
mod process;
mod processes;
mod registry;
mod stderr;
mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::domain::json::{Keys, check};
use crate::domain::{ErrorType, JobError, Json, Outcome};

pub use command::{CommandSettings, Stdin, Stdout};
pub use native::{Call, CallSecret, CallSecrets, Native, blocking, builtin, task};
pub use parameters::{Fault, Refusal};
pub use pool::ThreadPool;
pub use process::{Kind, Limits, Secrets, User, become_spawner_if_asked, may_spawn};
pub use processes::{Layer, Places, Processes};
pub use registry::{Function, Registry};
#[cfg(fuzzing)]
pub use worker::fuzz;
pub use worker::{Resize, Worker, WorkerSettings, WorkerState};

use registry::Code;

/// How long the processes of a worker may take to end with the server.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// What foreign code may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// OS threads for what computes or blocks.
    pub threads: usize,
    /// Largest result, in bytes of JSON.
    pub result_bytes_max: usize,
    /// Where programs may be started, if any may.
    pub processes: Option<Places>,
    /// The workers.
    pub workers: Vec<WorkerSettings>,
}

/// Starts functions where they belong. Cheap to clone; the processes of its workers end with [`Runtime::close`].
#[derive(Clone, Debug)]
pub struct Runtime {
    pool: Arc<ThreadPool>,
    result_bytes_max: usize,
    processes: Option<Processes>,
    workers: Arc<Vec<Worker>>,
}

impl Runtime {
    /// Starts the threads, and the processes of the workers. How many calls those can take is told from now on by
    /// what is given along.
    pub fn start(config: Config) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Resize>)> {
        let pool = Arc::new(ThreadPool::start(config.threads)?);
        let processes = match &config.processes {
            Some(places) => Some(Processes::start(places)?),
            None => None,
        };
        let (resizes, resized) = mpsc::unbounded_channel();
        let workers = config.workers.into_iter().zip(0..).filter_map(|(settings, number)| {
            Some(Worker::start(number, settings, processes.as_ref()?, resizes.clone()))
        });
        let workers = Arc::new(workers.collect());
        let result_bytes_max = config.result_bytes_max;
        Ok((Self { pool, result_bytes_max, processes, workers }, resized))
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Has the processes of all workers give way to new ones, without waiting for that.
    pub fn renew(&self) {
        self.workers.iter().for_each(Worker::renew);
    }

    /// What starts programs, if any may be started.
    #[must_use]
    pub fn processes(&self) -> Option<&Processes> {
        self.processes.as_ref()
    }

    /// Ends the processes of the workers, and clears away what was made for programs.
    pub async fn close(&self) {
        self.workers.iter().for_each(Worker::close);
        for worker in self.workers.iter() {
            if tokio::time::timeout(CLOSED_WITHIN, worker.closed()).await.is_err() {
                tracing::warn!(worker = worker.name(), "a worker does not end");
            }
        }
        if let Some(processes) = &self.processes {
            processes.clear();
        }
    }

    /// Begins one attempt of `function` with its bound arguments. Nothing of a task or a program runs before
    /// [`Running::outcome`] is awaited; a thread begins at once.
    #[must_use]
    pub fn begin(&self, function: &Function, call: Call, arguments: Json) -> Running {
        match &function.code {
            Code::Native(native, ..) => self.begin_native(&native.run, call, arguments),
            Code::Command(command, parameters) => {
                let Some(processes) = self.processes.clone() else { return Running::absent() };
                let (command, parameters) = (Arc::clone(command), Arc::clone(parameters));
                Running::program(|kill| {
                    command::run(processes, command, parameters, (call, arguments), kill).boxed()
                })
            }
            Code::Worker(function) => {
                let worker = function.worker.clone();
                Running::program(|kill| worker.call(call, arguments, kill).boxed())
            }
        }
    }

    fn begin_native(&self, run: &native::Run, call: Call, arguments: Json) -> Running {
        let limit = self.result_bytes_max;
        match run {
            native::Run::Task(run) => {
                let run = Arc::clone(run);
                let attempt = async move { run(call, arguments).await };
                Running::Task(
                    AssertUnwindSafe(attempt)
                        .catch_unwind()
                        .map(move |ended| judged(ended, limit))
                        .boxed(),
                )
            }
            native::Run::Blocking(run) => {
                let run = Arc::clone(run);
                let (sender, receiver) = oneshot::channel();
                self.pool.run(Box::new(move || {
                    let attempt = AssertUnwindSafe(|| run(&call, &arguments));
                    let outcome = judged(std::panic::catch_unwind(attempt), limit);
                    // The attempt may have been given up; then nobody asks any more.
                    drop(sender.send(outcome));
                }));
                Running::Thread(receiver)
            }
        }
    }
}

/// One attempt's code, on its way.
#[allow(missing_debug_implementations, reason = "a future of foreign code has nothing to print")]
pub enum Running {
    /// On the async threads; dropping it stops it.
    Task(BoxFuture<'static, Outcome>),
    /// On a pool thread, which cannot be stopped, only waited for.
    Thread(oneshot::Receiver<Outcome>),
    /// In a process, which is ended by the token; then it is over when nothing of it is left.
    Program(BoxFuture<'static, Outcome>, CancellationToken),
}

impl Running {
    fn program(run: impl FnOnce(CancellationToken) -> BoxFuture<'static, Outcome>) -> Self {
        let kill = CancellationToken::new();
        Self::Program(run(kill.clone()), kill)
    }

    /// A program, where none may be started: its functions are registered nowhere else.
    fn absent() -> Self {
        let reason = "this server starts no processes".to_owned();
        Self::Task(std::future::ready(Outcome::NotStarted { reason, wait_ms: 1_000 }).boxed())
    }

    /// Waits for the end. May be awaited again after a cancelled wait, not after an outcome.
    pub async fn outcome(&mut self) -> Outcome {
        match self {
            Self::Task(attempt) | Self::Program(attempt, _) => attempt.await,
            Self::Thread(receiver) => receiver.await.unwrap_or_else(|_closed| {
                let lost = JobError::of(ErrorType::Panic, "the thread ended without an outcome");
                Outcome::Raised(lost)
            }),
        }
    }

    /// Ends it as far as that is possible, in `patience`; gives it back if it still runs.
    pub async fn end(mut self, patience: Duration) -> Option<Self> {
        match &self {
            Self::Task(_) => return None,
            Self::Thread(_) => return Some(self),
            Self::Program(_, kill) => kill.cancel(),
        }
        match tokio::time::timeout(patience, self.outcome()).await {
            Ok(_late) => None,
            Err(_still_there) => Some(self),
        }
    }
}

/// A result, unless it is too large, or not every reader would take it (E24).
fn returned(result: Json, result_bytes_max: usize) -> Outcome {
    let (kind, why) = if result.len() > result_bytes_max {
        let text = format!("has {} bytes of JSON; {result_bytes_max} are the limit", result.len());
        (ErrorType::ResultTooLarge, text)
    } else {
        match check(result.as_str(), Keys::Any) {
            Ok(()) => return Outcome::Returned(result),
            Err(why) => (ErrorType::InvalidResult, why.to_string()),
        }
    };
    Outcome::Raised(JobError::of(kind, format!("the result {why}")))
}

/// A panic becomes the job's error (E23), and a result that is too large too (E24).
fn judged(ended: std::thread::Result<Result<Json, JobError>>, result_bytes_max: usize) -> Outcome {
    match ended {
        Ok(Ok(result)) => returned(result, result_bytes_max),
        Ok(Err(error)) => Outcome::Raised(error),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "the function panicked".to_owned());
            Outcome::Raised(JobError::of(ErrorType::Panic, message))
        }
    }
}
