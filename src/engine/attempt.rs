//! One attempt, from its claim to its completion.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorType, Job, JobError, JobId, Json, LogLine, LogPlace, Outcome, State};
use crate::runtime::{Call, Function, Running};
use crate::store::{self, Completion, SlotChange};

use super::Engine;
use super::running::Control;
use super::timers::{TIMEOUT_GRACE, TimeLimit};

/// How long an attempt may take to end by itself once a stopping server has asked it to.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// How long a program that is ended may take to be gone, with all that it started.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// Runs one attempt of `job`, which holds its slots until it is settled, or, on a thread that ignores
/// its cancellation, until its code has really ended.
pub(super) async fn run(engine: Engine, job: Arc<Job>, bound: Option<Json>, control: Arc<Control>) {
    debug_assert_eq!(job.state, State::Running, "only claimed jobs are run");
    let pool = engine.shared.pool_of(job.spec.function.as_str());
    let ended = match engine.prepare(&job, bound) {
        // A claim that was loaded after a cancel: its code never starts.
        _ if job.cancel_requested_at.is_some() => Ended::of(Outcome::Cancelled),
        Err(error) => Ended::of(Outcome::Raised(error)),
        Ok((function, arguments)) => {
            let stop = CancellationToken::new();
            let call = Call::new(job.spec.id, job.attempt, job.spec.function.clone(), stop);
            control.runs(&call);
            let running = engine.shared.runtime.begin(&function, call.clone(), arguments);
            let ended = engine.watch(running, &call, &control, &job).await;
            Ended { log: call.log_after(LogPlace::default()), ..ended }
        }
    };
    let completion = Arc::new(Completion {
        outcome: ended.outcome,
        log: ended.log,
        now: engine.now(),
        chance: rand::random(),
        pool,
        frees_slot: ended.overstays.is_none(),
        job,
    });
    match ended.overstays {
        None => engine.hand_over(completion).await,
        // In a box: it is large, and seldom comes to be.
        Some(overstays) => Box::pin(engine.outlast(completion, overstays)).await,
    }
}

/// How an attempt ended, and its code if that still runs.
struct Ended {
    outcome: Outcome,
    overstays: Option<Running>,
    /// What it has logged and is not kept yet.
    log: Vec<LogLine>,
}

impl Ended {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, overstays: None, log: Vec::new() }
    }

    /// Given up: a task ends by being dropped, a program is ended, a thread stays.
    async fn given_up(outcome: Outcome, running: Running) -> Self {
        Self { overstays: running.end(ENDED_WITHIN).await, ..Self::of(outcome) }
    }
}

impl Engine {
    /// The function, and its arguments: as they were bound at the submission, if it was a moment ago.
    fn prepare(&self, job: &Job, bound: Option<Json>) -> Result<(Arc<Function>, Json), JobError> {
        let name = job.spec.function.as_str();
        let function = self.function(name).cloned().ok_or_else(|| {
            JobError::new("LookupError", format!("there is no function named '{name}'"))
        })?;
        if let Some(bound) = bound {
            return Ok((function, bound));
        }
        let (Some(args), Some(kwargs)) = (&job.spec.args, &job.spec.kwargs) else {
            let message = "its arguments do not read back from the disk as they were submitted";
            return Err(JobError::of(ErrorType::DamagedArguments, message));
        };
        let arguments = function
            .bind(args, kwargs)
            .map_err(|refusal| JobError::new("TypeError", refusal.to_string()))?;
        Ok((function, arguments))
    }

    /// Waits for the end; passes on a cancel, and the end of the server.
    async fn watch(
        &self,
        mut running: Running,
        call: &Call,
        control: &Control,
        job: &Job,
    ) -> Ended {
        let limit = TimeLimit::of(job, self.now());
        // What seldom comes to be is in boxes: each attempt has room for the largest of them.
        tokio::select! {
            biased;
            outcome = running.outcome() => Ended::of(outcome),
            // Never ends by itself.
            () = self.keep_log(job, call) => Ended::of(Outcome::Stopped),
            grace = control.cancelled() => {
                call.stop();
                Box::pin(self.watch_cancelled(running, grace)).await
            }
            () = self.shared.shutdown.attempts.cancelled() => {
                call.stop();
                Box::pin(stopped(running)).await
            }
            error = limit.over() => {
                call.stop();
                Box::pin(self.watch_timed_out(running, error, control)).await
            }
        }
    }

    async fn watch_cancelled(&self, mut running: Running, grace: Duration) -> Ended {
        tokio::select! {
            biased;
            outcome = running.outcome() => return Ended::of(outcome),
            () = tokio::time::sleep(grace) => {}
            () = self.shared.shutdown.attempts.cancelled() => {}
        }
        Ended::given_up(Outcome::Cancelled, running).await
    }

    /// The attempt has timed out, whatever comes of it in its grace: nobody may take a late value for one
    /// that was in time. A cancel ends the grace as it says.
    async fn watch_timed_out(
        &self,
        mut running: Running,
        error: JobError,
        control: &Control,
    ) -> Ended {
        let cancelled = async { tokio::time::sleep(control.cancelled().await).await };
        tokio::select! {
            biased;
            _late = running.outcome() => return Ended::of(Outcome::Raised(error)),
            () = cancelled => {}
            () = tokio::time::sleep(TIMEOUT_GRACE) => {}
            () = self.shared.shutdown.attempts.cancelled() => {}
        }
        Ended::given_up(Outcome::Raised(error), running).await
    }

    /// Hands over the outcome of an attempt that is over; nobody waits for its commit. The store keeps it until it is recorded.
    async fn hand_over(&self, completion: Arc<Completion>) {
        let id = completion.job.spec.id;
        let failed = Box::new(move |error| is_not_recorded(id, &error));
        if let Err(error) = self.shared.store.complete(completion, Some(failed)).await {
            is_not_recorded(id, &error);
        }
    }

    /// Records the outcome of an attempt whose code still runs on a thread, which cannot be stopped: its slot stays
    /// taken until it really returns. A server that stops does not wait for it.
    async fn outlast(&self, completion: Arc<Completion>, mut overstays: Running) {
        let (queue, pool) = (completion.job.spec.queue.clone(), completion.pool);
        let (id, function) = (completion.job.spec.id, completion.job.spec.function.clone());
        tracing::warn!(job.id = %id, %function, "an attempt was given up and its code still runs; its slot stays taken");
        let _overstaying = self.shared.overstaying.token();
        if let Err(error) = self.shared.store.complete(completion, None).await {
            is_not_recorded(id, &error);
        }
        tokio::select! {
            _late = overstays.outcome() => {}
            () = self.shared.shutdown.attempts.cancelled() => return,
        }
        tracing::info!(job.id = %id, %function, "the code of an attempt that was given up has ended");
        // A store that is closed has no slots to give back.
        drop(self.shared.store.change_slots(SlotChange::Release { queue, pool }, self.now()).await);
    }
}

/// Another attempt came first, or the store has ended.
fn is_not_recorded(job: JobId, error: &store::Error) {
    tracing::warn!(job.id = %job, %error, "an outcome was not recorded");
}

/// What an error means that comes after the server asked the attempt to stop: an interruption. A value
/// that is returned all the same is a result.
async fn stopped(mut running: Running) -> Ended {
    tokio::select! {
        biased;
        outcome = running.outcome() => return match outcome {
            Outcome::Raised(_) => Ended::of(Outcome::Stopped),
            other => Ended::of(other),
        },
        () = tokio::time::sleep(STOP_GRACE) => {}
    }
    Ended::given_up(Outcome::Stopped, running).await
}
