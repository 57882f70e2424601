//! A job to test with, on every floor.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    FunctionName, Job, JobId, Json, Metadata, OnInterrupt, Options, Ordinal, Priority, QueueName,
    Spec, State, Tags, Timestamp,
};

/// What example number `number` asks for: `echo()` in the queue `default`, at the moment 1,000.
pub fn spec(number: u64) -> Spec {
    Spec {
        id: JobId(Uuid::from_u128(number.into())),
        function: FunctionName::new("echo").unwrap(),
        args: Some(Json::empty_array()),
        kwargs: Some(Json::empty_object()),
        queue: QueueName::default_queue(),
        priority: Priority::default(),
        on_interrupt: OnInterrupt::Rerun,
        tags: Tags::default(),
        metadata: Metadata::default(),
        options: Options::default(),
        batch: None,
        created_at: Timestamp(1_000),
    }
}

/// The first attempt of example number 1, which started at the moment 2,000.
pub fn running() -> Job {
    Job {
        state: State::Running,
        attempt: 1,
        started_at: Some(Timestamp(2_000)),
        ..Job::submitted(Arc::new(spec(1)), Ordinal(1))
    }
}
