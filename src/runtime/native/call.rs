//! What a running function knows of its job.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{FunctionName, JobId, LogLine, LogPlace, LogStream, Progress};

use super::attempt_output::{AttemptOutput, Changes};

/// One attempt of a job, as its function sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Call {
    id: JobId,
    attempt: u32,
    function: FunctionName,
    cancellation: CancellationToken,
    output: Arc<AttemptOutput>,
}

impl Call {
    /// A call for attempt number `attempt` of the job `id`.
    #[must_use]
    pub fn new(id: JobId, attempt: u32, function: FunctionName, stop: CancellationToken) -> Self {
        let output = Arc::new(AttemptOutput::new(attempt));
        Self { id, attempt, function, cancellation: stop, output }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The function that is called.
    #[must_use]
    pub fn function(&self) -> &str {
        self.function.as_str()
    }

    /// Which attempt this is, from 1. It only rises, so a receiver can use it to fence off an older
    /// attempt.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same in every attempt of this job: give it to whatever must not happen twice.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.id.to_string()
    }

    /// Whether the attempt has been asked to stop. A function that computes looks here between steps.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// Ends when the attempt is asked to stop. A task waits for this beside its own work.
    pub async fn cancelled(&self) {
        self.cancellation.cancelled().await;
    }

    /// Says how far it is: a fraction from 0 to 1, and what it is doing, of which 1 KiB is kept. Only the last is kept,
    /// and shown while the attempt runs.
    pub fn progress(&self, fraction: impl Into<Option<f64>>, message: impl Into<Option<String>>) {
        self.output.progress(Progress::new(fraction.into(), message.into().as_deref()));
    }

    /// Writes a line to the job's log, or several. It is seen at once, and kept with the job: its last MiB, each
    /// line up to 16 KiB.
    pub fn log(&self, line: &str) {
        self.output.log(LogStream::Log, line);
    }

    /// Writes a line that a program has said.
    pub(crate) fn write(&self, stream: LogStream, line: &str) {
        self.output.log(stream, line);
    }

    /// What [`Call::progress`] last said.
    pub(crate) fn last_progress(&self) -> Option<Progress> {
        self.output.last_progress()
    }

    /// The lines behind `after` that [`Call::kept_log`] has not let go of.
    pub(crate) fn log_after(&self, after: LogPlace) -> Vec<LogLine> {
        self.output.lines_after(after)
    }

    /// The place of the last line that was written; of number 0 before the first.
    pub(crate) fn last_line(&self) -> LogPlace {
        self.output.last_line()
    }

    /// The lines up to this number are kept elsewhere.
    pub(crate) fn kept_log(&self, number: i64) {
        self.output.kept(number);
    }

    /// Tells whenever the attempt has told something of itself.
    pub(crate) fn changes(&self) -> Changes {
        Changes::of(&self.output)
    }

    /// Asks the function to stop.
    pub(crate) fn stop(&self) {
        self.cancellation.cancel();
    }
}
