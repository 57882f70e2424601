//! What can be asked of the writer, and its answer.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::domain::JobError;

use super::{
    Alarm, Arc, Batch, CallbackId, CancelCounts, CancelPortion, Cleaned, Completion,
    DeliveryAttempt, DeliveryState, Error, Forgetting, Identity, Job, JobId, Json, LogLine, Many,
    Mark, Moment, NewBatch, NewCallback, Ordinal, Outcome, Pace, Pool, Queue, QueueName,
    Redelivery, RunAt, Shrunk, Spec, Submitted, Swept, Timestamp, When,
};

/// A job to be written.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What was asked for, with its arguments whole.
    pub spec: Arc<Spec>,
    /// Where its function runs.
    pub pool: Pool,
    /// Not to be started before; none: at once.
    pub run_at: Option<RunAt>,
    /// Its callbacks, in order.
    pub callbacks: Vec<NewCallback>,
    /// Its arguments as the function takes them: they go back with [`super::Event::Started`].
    pub bound: Json,
    /// What its request is known by when it comes again; most are not. In a box, because it is seldom there.
    pub identity: Option<Box<Identity>>,
}

/// The end of an attempt, to be written.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The job as its attempt knows it. What the writer knows better, a cancel, is added to it.
    pub job: Arc<Job>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What it has logged and was not kept before.
    pub log: Vec<LogLine>,
    /// When.
    pub now: Timestamp,
    /// From 0 to 1: spreads the wait before another attempt.
    pub chance: f64,
    /// Where it ran.
    pub pool: Pool,
    /// Whether its slot is free again; a thread may still be busy with code that was given up.
    pub frees_slot: bool,
}

/// A cancel, to be decided in one transaction with the state.
#[derive(Clone, Debug)]
pub struct CancelOrder {
    /// The job, as it was read.
    pub job: Arc<Job>,
    /// Where its function runs.
    pub pool: Pool,
    /// Whether a running job is asked to stop, or left alone as Python's `cancel()` does.
    pub terminate: bool,
    /// How long a job that is asked to stop may take.
    pub grace_seconds: f64,
    /// When.
    pub now: Timestamp,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// The job waited; it is cancelled.
    Cancelled,
    /// The job runs; it is now, or was before, asked to stop.
    Requested,
    /// The job runs and was left alone.
    Running,
    /// The job was done before.
    Done,
}

/// What is asked of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOrder {
    /// Which one.
    pub queue: QueueName,
    /// What.
    pub change: QueueChange,
    /// When.
    pub now: Timestamp,
}

/// What a queue may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// How many of its jobs run at once, whatever their function.
    pub max_workers: usize,
    /// How many of its jobs may wait.
    pub max_pending: usize,
}

/// What can be asked of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Makes it, or changes what is given; one that was shut down is open again.
    Set {
        /// How many of its jobs run at once.
        max_workers: Option<usize>,
        /// How many of its jobs may wait.
        max_pending: Option<usize>,
    },
    /// Starts nothing from it.
    Pause,
    /// Starts what waits.
    Resume,
    /// Refuses submissions; what waits still runs (E12).
    ShutDown {
        /// Unless it is cancelled (E14). No later shutdown takes that back (E15).
        cancel_futures: bool,
    },
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The queue as it stands then.
    pub queue: Queue,
    /// How many waiting jobs the order cancels. None of them ever starts, but not all need have been
    /// settled yet.
    pub cancelled: usize,
}

/// One POST, and what becomes of its delivery.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The callback's place, which is the delivery's too.
    pub callback: Ordinal,
    /// The host and port that it went to.
    pub host: String,
    /// How that receiver answered.
    pub pace: Pace,
    /// The number of this attempt, from 1.
    pub number: usize,
    /// When it ended, by the server's own clock; the attempt itself tells of the wall's.
    pub now: Timestamp,
    /// What was sent and answered.
    pub attempt: DeliveryAttempt,
    /// What becomes of the delivery.
    pub state: DeliveryState,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
}

/// What is called when nothing comes of a change, on the thread that found out: it must not block.
pub(super) type Failed = Box<dyn FnOnce(Error) + Send>;

/// The way back to whoever asked. The effect is decided while the group is assembled, and told only
/// after its commit.
pub(super) struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Error>>>,
    failed: Option<Failed>,
    effect: Option<Result<T, Error>>,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Reply<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reply").field("effect", &self.effect).finish_non_exhaustive()
    }
}

impl<T> Reply<T> {
    pub(super) fn new(sender: oneshot::Sender<Result<T, Error>>) -> Self {
        Self { sender: Some(sender), failed: None, effect: None }
    }

    /// To whoever waits for something else, and hears only of a failure.
    pub(super) fn of_failure(failed: Failed) -> Self {
        Self { sender: None, failed: Some(failed), effect: None }
    }

    /// Calls `failed` too, after the answer.
    pub(super) fn and_failed(self, failed: Failed) -> Self {
        Self { failed: Some(failed), ..self }
    }

    pub(super) fn set(&mut self, effect: Result<T, Error>) {
        self.effect = Some(effect);
    }

    fn send(self, failure: Option<&Error>) {
        let effect = match failure {
            Some(error) => Err(error.clone()),
            None => self.effect.unwrap_or(Err(Error::Closed)),
        };
        let error = self.failed.is_some().then(|| effect.as_ref().err().cloned()).flatten();
        if let Some(sender) = self.sender {
            // Whoever asked may be gone; the write stands all the same.
            drop(sender.send(effect));
        }
        if let (Some(failed), Some(error)) = (self.failed, error) {
            failed(error);
        }
    }
}

/// Bodies of deliveries, by the places of their callbacks.
pub(super) type Bodies = Arc<BTreeMap<Ordinal, String>>;

/// One member of a group. `written_ahead` is the payload that holds a large value already.
#[derive(Debug)]
pub(super) enum Change {
    Submit { submission: Submission, written_ahead: Option<i64>, reply: Reply<Arc<Job>> },
    Complete { it: Box<Completion>, written_ahead: Option<i64>, reply: Reply<Option<Arc<Job>>> },
    Settle { settlement: Arc<Settlement>, written_ahead: Option<i64>, reply: Reply<()> },
    KeepLog { job: Ordinal, lines: Vec<LogLine>, reply: Reply<()> },
    Release { queue: QueueName, pool: Pool, now: Timestamp },
    Resize { pool: Pool, slots: usize, now: Timestamp, reply: Reply<()> },
    ClearSuspects { now: Timestamp, reply: Reply<()> },
    Cancel { order: CancelOrder, reply: Reply<Cancellation> },
    SubmitMany { many: Many, reply: Reply<Submitted> },
    SubmitBatch { it: Box<NewBatch>, reply: Reply<Batch> },
    CloseBatch { batch: Ordinal, now: Timestamp, reply: Reply<()> },
    CancelBatch { batch: Ordinal, now: Timestamp, reply: Reply<bool> },
    AddBatchCallback { batch: Ordinal, callback: NewCallback, when: When, reply: Reply<()> },
    AddCallback { job: Ordinal, callback: NewCallback, reply: Reply<()> },
    BeginDeliveries { bodies: Bodies, again: Vec<Ordinal>, reply: Reply<()> },
    Delivered { report: DeliveryReport, reply: Reply<()> },
    Queue { order: QueueOrder, reply: Reply<Ordered> },
    Queues { name: Option<QueueName>, reply: Reply<Vec<Queue>> },
    ComeDue { moment: Moment, reply: Reply<Alarm> },
    StopClaiming { reply: Reply<()> },
    Clean { now: Timestamp, from: Swept, reply: Reply<Cleaned> },
    Shrink { forced: bool, reply: Reply<Shrunk> },
    Forget { id: JobId, now: Timestamp, reply: Reply<Forgetting> },
    Redeliver { id: CallbackId, now: Timestamp, reply: Reply<Redelivery> },
    RedeliverMany { callbacks: Vec<Ordinal>, now: Timestamp, reply: Reply<usize> },
    DropCallback { id: CallbackId, now: Timestamp, reply: Reply<bool> },
    MarkCancelled { mark: Mark, reply: Reply<(u64, Ordinal)> },
    CancelPortion { portion: CancelPortion, reply: Reply<CancelCounts> },
    UnmarkCancelled { number: u64, reply: Reply<usize> },
    Close,
}

impl Change {
    /// Whether it brings what nobody has accepted yet.
    pub(super) fn is_submission(&self) -> bool {
        matches!(self, Self::Submit { .. } | Self::SubmitMany { .. } | Self::SubmitBatch { .. })
    }

    /// Whether it is kept and tried again when `error` has kept it from being written: nobody else would ask for it again. What
    /// a client asks for is refused instead, and what is due is looked for again by whoever found it.
    pub(super) fn is_kept_after(&self, error: &Error) -> bool {
        match self {
            Self::Settle { .. }
            | Self::Release { .. }
            | Self::Resize { .. }
            | Self::ClearSuspects { .. }
            | Self::UnmarkCancelled { .. } => true,
            Self::CloseBatch { .. } | Self::Delivered { .. } => error.passes(),
            _ => false,
        }
    }

    /// The job of which it brings the outcome.
    pub(super) fn job_of_outcome(&self) -> Option<JobId> {
        match self {
            Self::Settle { settlement, .. } => Some(settlement.job.spec.id),
            _ => None,
        }
    }

    /// Whether it brings the outcome of an attempt.
    pub(super) fn is_outcome(&self) -> bool {
        self.job_of_outcome().is_some()
    }

    /// The payload that holds its value already.
    pub(super) fn written_ahead(&self) -> Option<i64> {
        match self {
            Self::Submit { written_ahead, .. }
            | Self::Settle { written_ahead, .. }
            | Self::Complete { written_ahead, .. } => *written_ahead,
            _ => None,
        }
    }

    /// Whether it asks for nothing that another member of its group may have written.
    pub(super) fn is_of_one_run(&self) -> bool {
        matches!(self, Self::Settle { .. } | Self::Release { .. })
    }

    /// Tells whoever asked: what was decided, or that the commit failed.
    pub(super) fn answer(self, failure: Option<&Error>) {
        match self {
            Self::Submit { reply, .. } => reply.send(failure),
            Self::Complete { reply, .. } => reply.send(failure),
            Self::Cancel { reply, .. } => reply.send(failure),
            Self::Queue { reply, .. } => reply.send(failure),
            Self::Queues { reply, .. } => reply.send(failure),
            Self::ComeDue { reply, .. } => reply.send(failure),
            Self::SubmitMany { reply, .. } => reply.send(failure),
            Self::SubmitBatch { reply, .. } => reply.send(failure),
            Self::CancelBatch { reply, .. } => reply.send(failure),
            Self::Settle { reply, .. }
            | Self::KeepLog { reply, .. }
            | Self::CloseBatch { reply, .. }
            | Self::AddBatchCallback { reply, .. }
            | Self::AddCallback { reply, .. }
            | Self::BeginDeliveries { reply, .. }
            | Self::Delivered { reply, .. }
            | Self::Resize { reply, .. }
            | Self::ClearSuspects { reply, .. }
            | Self::StopClaiming { reply } => reply.send(failure),
            Self::Clean { reply, .. } => reply.send(failure),
            Self::Shrink { reply, .. } => reply.send(failure),
            Self::Forget { reply, .. } => reply.send(failure),
            Self::Redeliver { reply, .. } => reply.send(failure),
            Self::RedeliverMany { reply, .. } => reply.send(failure),
            Self::DropCallback { reply, .. } => reply.send(failure),
            Self::MarkCancelled { reply, .. } => reply.send(failure),
            Self::CancelPortion { reply, .. } => reply.send(failure),
            Self::UnmarkCancelled { reply, .. } => reply.send(failure),
            Self::Release { .. } | Self::Close => {}
        }
    }

    /// About how many bytes it writes.
    pub(super) fn weight(&self) -> usize {
        const ROW: usize = 256;
        match self {
            Self::Submit { submission, .. } => all_bytes(ROW, std::slice::from_ref(submission)),
            Self::SubmitMany { many: Many { calls, .. }, .. } => all_bytes(ROW, calls),
            Self::SubmitBatch { it, .. } => ROW + all_bytes(ROW, &it.calls),
            Self::Settle { settlement, .. } => {
                ROW + outcome_bytes(&settlement.outcome) + log_bytes(&settlement.log)
            }
            Self::KeepLog { lines, .. } => ROW + log_bytes(lines),
            Self::Complete { it, .. } => {
                ROW + it.end.as_ref().map_or_else(JobError::bytes, Json::len)
            }
            Self::BeginDeliveries { bodies, again, .. } => {
                let bytes: usize = bodies.values().map(|body| ROW + body.len()).sum();
                bytes + ROW * again.len()
            }
            Self::RedeliverMany { callbacks, .. } => ROW * callbacks.len(),
            Self::Release { .. }
            | Self::Resize { .. }
            | Self::ClearSuspects { .. }
            | Self::Cancel { .. }
            | Self::CloseBatch { .. }
            | Self::CancelBatch { .. }
            | Self::AddBatchCallback { .. }
            | Self::AddCallback { .. }
            | Self::Delivered { .. }
            | Self::Queue { .. }
            | Self::Queues { .. }
            | Self::ComeDue { .. }
            | Self::StopClaiming { .. }
            | Self::Clean { .. }
            | Self::Shrink { .. }
            | Self::Forget { .. }
            | Self::Redeliver { .. }
            | Self::DropCallback { .. }
            | Self::MarkCancelled { .. }
            | Self::CancelPortion { .. }
            | Self::UnmarkCancelled { .. }
            | Self::Close => ROW,
        }
    }
}

fn all_bytes(row: usize, calls: &[Submission]) -> usize {
    let of_callback =
        |it: &NewCallback| row + it.url.len() + it.sealed.as_ref().map_or(0, Vec::len);
    let of_call = |call: &Submission| {
        let callbacks: usize = call.callbacks.iter().map(of_callback).sum();
        row + call.spec.arguments_bytes() + callbacks
    };
    calls.iter().map(of_call).sum()
}

/// The errors of earlier attempts, which may lose their texts for it, are there already.
fn outcome_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Returned(result) => result.len(),
        Outcome::Raised(error) => error.bytes(),
        Outcome::Cancelled | Outcome::Stopped | Outcome::Crashed | Outcome::NotStarted { .. } => 0,
    }
}

fn log_bytes(lines: &[LogLine]) -> usize {
    lines.iter().map(LogLine::bytes).sum()
}
