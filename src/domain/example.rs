//! A job to test with, on every floor.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

use super::{
    FunctionName, Job, JobId, Json, Metadata, OnInterrupt, Options, Ordinal, Priority, QueueName,
    Spec, State, Tags, Timestamp,
};

/// Bytes to read that are nearly one of `seeds`, or nothing like them.
pub fn mangled(seeds: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<Index>(), 0..4_u8, any::<u8>());
    let edited = (select(seeds), vec(edit, 0..5)).prop_map(|(seed, edits)| {
        let mut bytes = seed.as_bytes().to_vec();
        for (place, kind, byte) in edits {
            let at = place.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                2 => bytes.extend_from_within(at..),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|it| *it = byte),
            }
        }
        bytes
    });
    prop_oneof![4 => edited, 1 => vec(any::<u8>(), 0..200)]
}

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
