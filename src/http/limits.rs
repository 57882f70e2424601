//! What a connection and a body may take.

use std::time::Duration;

/// Limits of connections and of bodies.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// A header must be whole this long after its first byte.
    pub header: Duration,
    /// A connection on which nothing comes is closed after this.
    pub idle: Duration,
    /// A whole body arrives within this.
    pub body: Duration,
    /// A client must take some of an answer within this.
    pub stall: Duration,
    /// Bytes of bodies and headers that come in, of all connections together.
    pub incoming_bytes: usize,
    /// Bytes of answers that wait until somebody takes them, all together.
    pub outgoing_bytes: usize,
    /// Largest body of each kind, in bytes, by [`SUBMISSION`], [`BATCH`] and [`OTHER`].
    pub body_bytes: [usize; 3],
    /// Largest result, in bytes of JSON.
    pub result_bytes: usize,
}

/// A submission, the result of a manual job, many ids; and each line of a stream.
pub const SUBMISSION: usize = 0;
/// A batch.
pub const BATCH: usize = 1;
/// Any other body.
pub const OTHER: usize = 2;
