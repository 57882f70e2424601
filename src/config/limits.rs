//! `[limits]`: what clients may ask of the server.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http;

use super::setting_error::{self, SettingError};

const MIB: usize = 1024 * 1024;
/// Most connections.
const CONNECTIONS_MAX: usize = 1_000_000;
/// Most requests that wait.
const WAITERS_MAX: usize = 1_000_000;
/// Most jobs that all of them watch.
const WATCHED_MAX: usize = 100_000_000;
/// Most manual jobs that wait.
const MANUAL_MAX: usize = 100_000_000;
/// Largest body, and largest result.
const BYTES_MAX: usize = 64 * MIB;
/// Most memory for bodies, and for answers.
const TOGETHER_MAX: usize = 1024 * 1024 * MIB;
/// Longest time that a client may take.
const SECONDS_MAX: f64 = 3_600.0;
/// Descriptors for everything but clients: the database, programs, outgoing connections.
const OTHER_DESCRIPTORS: u64 = 3_616;

/// Limits of what clients may ask.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once. More wait to be accepted.
    pub connections: usize,
    /// Seconds from the first byte of a header to its end.
    pub header_seconds: f64,
    /// Seconds that a connection may be open while nothing comes.
    pub idle_seconds: f64,
    /// Seconds for a whole body.
    pub body_seconds: f64,
    /// Seconds in which a client must take some of its answer.
    pub stall_seconds: f64,
    /// Bytes of a submission, of the result of a manual job, of a line.
    pub submission_bytes: usize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// Bytes of any other body.
    pub body_bytes: usize,
    /// Bytes of a result, as JSON.
    pub result_bytes: usize,
    /// Bytes of all bodies and headers that come in, together.
    pub incoming_bytes: usize,
    /// Bytes of all answers that wait until somebody takes them, together.
    pub outgoing_bytes: usize,
    /// Requests that may wait at once.
    pub waiters: usize,
    /// Jobs that all waiting requests together may watch.
    pub watched_jobs: usize,
    /// Manual jobs that may wait to be completed.
    pub manual_jobs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            header_seconds: 10.0,
            idle_seconds: 75.0,
            body_seconds: 30.0,
            stall_seconds: 30.0,
            submission_bytes: MIB,
            batch_bytes: 8 * MIB,
            body_bytes: 64 * 1024,
            result_bytes: 8 * MIB,
            incoming_bytes: 256 * MIB,
            outgoing_bytes: 256 * MIB,
            waiters: 10_000,
            watched_jobs: 1_000_000,
            manual_jobs: 1_000_000,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        setting_error::within("connections", self.connections, CONNECTIONS_MAX)?;
        setting_error::within("submission_bytes", self.submission_bytes, BYTES_MAX)?;
        setting_error::within("batch_bytes", self.batch_bytes, BYTES_MAX)?;
        setting_error::within("body_bytes", self.body_bytes, BYTES_MAX)?;
        setting_error::within("result_bytes", self.result_bytes, BYTES_MAX)?;
        setting_error::between("incoming_bytes", self.incoming_bytes, (MIB, TOGETHER_MAX))?;
        setting_error::between("outgoing_bytes", self.outgoing_bytes, (MIB, TOGETHER_MAX))?;
        setting_error::at_most("waiters", self.waiters, WAITERS_MAX)?;
        setting_error::at_most("watched_jobs", self.watched_jobs, WATCHED_MAX)?;
        setting_error::at_most("manual_jobs", self.manual_jobs, MANUAL_MAX)?;
        setting_error::seconds("header_seconds", self.header_seconds, SECONDS_MAX)?;
        setting_error::seconds("idle_seconds", self.idle_seconds, SECONDS_MAX)?;
        setting_error::seconds("body_seconds", self.body_seconds, SECONDS_MAX)?;
        setting_error::seconds("stall_seconds", self.stall_seconds, SECONDS_MAX)
    }

    /// As the front desk has them, once they are checked.
    pub(super) fn http(&self) -> http::Limits {
        http::Limits {
            connections: self.connections,
            header: Duration::from_secs_f64(self.header_seconds),
            idle: Duration::from_secs_f64(self.idle_seconds),
            body: Duration::from_secs_f64(self.body_seconds),
            stall: Duration::from_secs_f64(self.stall_seconds),
            incoming_bytes: self.incoming_bytes,
            outgoing_bytes: self.outgoing_bytes,
            body_bytes: [self.submission_bytes, self.batch_bytes, self.body_bytes],
            result_bytes: self.result_bytes,
        }
    }

    /// Descriptors that a server needs for so many connections.
    pub(crate) fn descriptors(&self) -> u64 {
        self.connections as u64 + OTHER_DESCRIPTORS
    }

    /// Connections that there are descriptors for. Of few descriptors half are for everything else.
    pub(crate) fn fitted(&self, descriptors: u64) -> usize {
        let left = descriptors - OTHER_DESCRIPTORS.min(descriptors / 2);
        self.connections.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
    }
}
