//! Workers: processes that stay, and take one call after the other, as those of a `ProcessPoolExecutor` do.

mod bad_line;
mod beside;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod lines;
mod protocol;
mod renewal;
mod session;
mod supervisor;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{Defaults, FunctionName, Json, Outcome, Pool, ScopeName};

use super::Call;
use super::parameters::Parameters;
use super::process::{Limits, User};
use super::processes::Processes;
use super::stderr::{Admission, Share};
use renewal::Renewal;

/// Of lines that have a rate of their own.
const LOG_TARGET: &str = "futurity::worker";

/// A worker, as an operator has written it down.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// What it is called.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Where it runs; none: in a directory of its own, which goes with the process.
    pub directory: Option<PathBuf>,
    /// How many processes it is, each with one call at a time.
    pub processes: usize,
    /// After so many calls a process gives way to a new one (E21).
    pub max_calls_per_process: Option<u64>,
    /// The functions that it has; none: those that it announces.
    pub functions: Option<Vec<FunctionName>>,
    /// How long it may take to say what it can do.
    pub initialize_timeout: Duration,
    /// What each of its processes may use.
    pub limits: Limits,
    /// Whose its processes are; none: the server's.
    pub user: Option<User>,
    /// What a key must allow to call its functions.
    pub scope: Option<ScopeName>,
    /// What jobs of its functions have where their submissions say nothing.
    pub defaults: Defaults,
    /// The largest result, in bytes of JSON.
    pub result_bytes_max: usize,
}

/// So many calls can run in `pool` from now on. Whoever hears it says when it counts.
#[derive(Debug)]
pub struct Resize {
    /// The pool.
    pub pool: Pool,
    /// Its slots.
    pub slots: usize,
    /// Told when it counts.
    pub done: oneshot::Sender<()>,
}

/// How a worker's processes fare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// As many as there are to be.
    pub processes: usize,
    /// Those that take calls, or have one.
    pub ready: usize,
    /// Those that have one.
    pub busy: usize,
    /// How often one was started again after it was lost.
    pub restarts: u64,
    /// Why the last one was lost, or did not start.
    pub last_error: Option<String>,
}

/// A worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Worker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: WorkerSettings,
    pool: Pool,
    renewal: Renewal,
    state: Mutex<State>,
    /// What its processes may still say into the log of the server.
    log: Mutex<Share>,
    /// Told when a process is ready, or was not to be.
    changed: watch::Sender<()>,
    resizes: mpsc::UnboundedSender<Resize>,
    closing: CancellationToken,
    supervisors: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    /// Processes that have no call.
    idle: Vec<mpsc::Sender<Assignment>>,
    shown: WorkerState,
}

/// A call for a process.
#[derive(Debug)]
struct Assignment {
    call: Call,
    arguments: Json,
    /// Ends the process, after the call was asked to stop.
    kill: CancellationToken,
    outcome: oneshot::Sender<Outcome>,
}

impl Worker {
    /// Starts its processes. Where they can take calls is told through `resizes`.
    pub(super) fn start(
        number: u16,
        settings: WorkerSettings,
        processes: &Processes,
        resizes: mpsc::UnboundedSender<Resize>,
    ) -> Self {
        let shown = WorkerState { processes: settings.processes, ..WorkerState::default() };
        let shared = Arc::new(Shared {
            pool: Pool::Worker(number),
            renewal: Renewal::default(),
            state: Mutex::new(State { idle: Vec::new(), shown }),
            log: Mutex::new(Share::new(Instant::now())),
            changed: watch::Sender::new(()),
            resizes,
            closing: CancellationToken::new(),
            supervisors: TaskTracker::new(),
            settings,
        });
        let worker = Self { shared };
        for number in 0..worker.shared.settings.processes {
            let supervisor = supervisor::supervise(worker.clone(), processes.clone(), number);
            worker.shared.supervisors.spawn(supervisor);
        }
        worker.shared.supervisors.close();
        worker
    }

    /// Waits until one of its processes is ready.
    pub async fn ready(&self) -> Result<(), String> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let state = self.state();
            if state.ready > 0 {
                return Ok(());
            }
            // Each has failed once, or one as often.
            let have_failed = state.restarts >= self.shared.settings.processes as u64;
            if let Some(error) = state.last_error.filter(|_| have_failed) {
                return Err(error);
            }
            if changed.changed().await.is_err() {
                return Err("it is closed".to_owned());
            }
        }
    }

    /// Whether what it can do is what it announces, and not what its settings say.
    #[must_use]
    pub fn announces(&self) -> bool {
        self.shared.settings.functions.is_none()
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// Where its calls run.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.shared.pool
    }

    /// How its processes fare.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        self.lock().shown.clone()
    }

    pub(super) fn scope(&self) -> Option<&ScopeName> {
        self.shared.settings.scope.as_ref()
    }

    pub(super) fn defaults(&self) -> &Defaults {
        &self.shared.settings.defaults
    }

    /// The functions that it has: those that it is to have, or else those that it has announced.
    pub(super) fn functions(&self) -> Vec<FunctionName> {
        match &self.shared.settings.functions {
            Some(named) => named.clone(),
            None => {
                let announced = self.shared.renewal.announced();
                announced.iter().flat_map(|announced| announced.keys()).cloned().collect()
            }
        }
    }

    /// What it has announced.
    #[must_use]
    pub fn announced_names(&self) -> Vec<String> {
        let announced = self.shared.renewal.announced();
        announced.iter().flat_map(|announced| announced.keys()).map(ToString::to_string).collect()
    }

    pub(super) fn description(&self, name: &FunctionName) -> String {
        let announced = self.shared.renewal.announced();
        announced.and_then(|it| Some(it.get(name)?.description.clone())).unwrap_or_default()
    }

    /// Has each of its processes give way to a new one, which runs the code that is there then: one after the other,
    /// each when its call is over. Does not wait for that.
    pub fn renew(&self) {
        self.shared.renewal.ask();
    }

    /// Makes a call. `kill` ends the process that has it, after [`Call::stop`] has asked it to end by itself.
    pub(super) async fn call(
        self,
        call: Call,
        arguments: Json,
        kill: CancellationToken,
    ) -> Outcome {
        let missing = || {
            let reason = format!("no process of worker '{}' is ready", self.name());
            Outcome::NotStarted { reason, wait_ms: 0 }
        };
        let (outcome, answer) = oneshot::channel();
        let mut assignment = Assignment { call, arguments, kill, outcome };
        loop {
            let Some(process) = self.lock().idle.pop() else { return missing() };
            // One that is lost just now takes none; another may.
            match process.try_send(assignment) {
                Ok(()) => break,
                Err(refused) => assignment = refused.into_inner(),
            }
        }
        answer.await.unwrap_or_else(|_lost| missing())
    }

    /// Tells the claim how many calls can run, and waits until that counts.
    async fn resize(&self, change: impl FnOnce(&mut State)) {
        let slots = {
            let mut state = self.lock();
            change(&mut state);
            state.shown.ready
        };
        let (done, counts) = oneshot::channel();
        drop(self.shared.resizes.send(Resize { pool: self.pool(), slots, done }));
        self.shared.changed.send_replace(());
        tokio::select! {
            // A server that stops claims nothing more.
            _counts = counts => {}
            () = self.shared.closing.cancelled() => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line that a process has said of no call into the log of the server.
    fn log(&self, line: &str) {
        let mut share = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        match share.admit(line.len(), Instant::now()) {
            Admission::Taken => tracing::info!(target: LOG_TARGET, worker = self.name(), "{line}"),
            Admission::LeftOutFirst => tracing::warn!(
                target: LOG_TARGET,
                worker = self.name(),
                "it says too much: its lines are left out until the next second"
            ),
            Admission::LeftOut => {}
        }
    }

    /// Ends its processes.
    pub(super) fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Waits until they have ended.
    pub(super) async fn closed(&self) {
        self.shared.supervisors.wait().await;
    }
}

/// A function that a worker has.
#[derive(Debug)]
pub(super) struct WorkerFunction {
    pub(super) worker: Worker,
    name: FunctionName,
    unknown: Arc<Parameters>,
}

impl WorkerFunction {
    pub(super) fn new(worker: Worker, name: FunctionName) -> Self {
        Self { worker, name, unknown: Arc::default() }
    }

    /// Its parameters, once a process has announced them.
    pub(super) fn parameters(&self) -> Arc<Parameters> {
        let announced = self.worker.shared.renewal.announced();
        let parameters = announced.and_then(|it| Some(Arc::clone(&it.get(&self.name)?.parameters)));
        parameters.unwrap_or_else(|| Arc::clone(&self.unknown))
    }
}
