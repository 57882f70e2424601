//! Foreign code: the functions that jobs call, and the places where they run.

mod native;
mod pool;
mod registry;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::domain::{ErrorType, JobError, Json, Outcome, Pool};

pub use native::{Call, Native, Refusal, blocking, builtin, task};
pub use pool::ThreadPool;
pub use registry::{Function, Registry};

/// What foreign code may use.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// OS threads for what computes or blocks.
    pub threads: usize,
    /// Largest result, in bytes of JSON.
    pub result_bytes_max: usize,
}

/// Starts functions where they belong.
#[derive(Clone, Debug)]
pub struct Runtime {
    pool: Arc<ThreadPool>,
    result_bytes_max: usize,
}

impl Runtime {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(config: &Config) -> std::io::Result<Self> {
        let pool = Arc::new(ThreadPool::start(config.threads)?);
        Ok(Self { pool, result_bytes_max: config.result_bytes_max })
    }

    /// Begins one attempt of `function` with its bound arguments. Nothing of a task runs before
    /// [`Running::outcome`] is awaited; a thread begins at once.
    #[must_use]
    pub fn begin(&self, function: &Function, call: Call, arguments: Json) -> Running {
        let limit = self.result_bytes_max;
        match &function.native.run {
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
}

impl Running {
    /// Waits for the end. May be awaited again after a cancelled wait, not after an outcome.
    pub async fn outcome(&mut self) -> Outcome {
        match self {
            Self::Task(task) => task.await,
            Self::Thread(receiver) => receiver.await.unwrap_or_else(|_closed| {
                let lost = JobError::of(ErrorType::Panic, "the thread ended without an outcome");
                Outcome::Raised(lost)
            }),
        }
    }

    /// Where it runs.
    #[must_use]
    pub fn pool(&self) -> Pool {
        match self {
            Self::Task(_) => Pool::Tasks,
            Self::Thread(_) => Pool::Threads,
        }
    }
}

/// A panic becomes the job's error (E23), and a result that is too large too (E24).
fn judged(ended: std::thread::Result<Result<Json, JobError>>, result_bytes_max: usize) -> Outcome {
    match ended {
        Ok(Ok(result)) if result.len() > result_bytes_max => {
            let message = format!(
                "the result has {} bytes of JSON; {result_bytes_max} are the limit",
                result.len()
            );
            Outcome::Raised(JobError::of(ErrorType::ResultTooLarge, message))
        }
        Ok(Ok(result)) => Outcome::Returned(result),
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
