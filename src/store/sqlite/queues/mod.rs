//! Queues: a verb a file.

pub mod drain;
pub mod order;
pub mod waiting_since;
