//! What was asked for.

use super::{
    BatchSlot, FunctionName, JobId, Json, Metadata, OnInterrupt, Options, Priority, QueueName,
    Tags, Timestamp,
};

/// What was asked for: the part of a job that never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The job's name.
    pub id: JobId,
    /// The function to call.
    pub function: FunctionName,
    /// Positional arguments, a JSON array; none where a view leaves large arguments out.
    pub args: Option<Json>,
    /// Keyword arguments, a JSON object; left out together with `args`.
    pub kwargs: Option<Json>,
    /// The queue it waits in.
    pub queue: QueueName,
    /// How urgent it is there.
    pub priority: Priority,
    /// What becomes of it when the server does not survive an attempt.
    pub on_interrupt: OnInterrupt,
    /// Words to find it by.
    pub tags: Tags,
    /// The client's notes.
    pub metadata: Metadata,
    /// What most jobs leave out.
    pub options: Options,
    /// The batch that it belongs to.
    pub batch: Option<BatchSlot>,
    /// When it was submitted, by the server's own clock.
    pub created_at: Timestamp,
}

impl Spec {
    /// A moment of this job as it is shown. The clock may be set while the job lives; its times are all of one clock,
    /// so none is before an earlier one, and what lies between two of them is what has passed.
    #[must_use]
    pub fn shown(&self, at: Timestamp) -> Timestamp {
        at.plus_millis(self.options.wall_ahead_ms)
    }

    /// Bytes of its arguments, as they were sent; none where a view leaves them out.
    #[must_use]
    pub fn arguments_bytes(&self) -> usize {
        let bytes = |json: &Option<Json>| json.as_ref().map_or(0, Json::len);
        bytes(&self.args) + bytes(&self.kwargs)
    }
}
