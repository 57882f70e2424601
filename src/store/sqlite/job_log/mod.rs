//! The logs of jobs.

pub mod keep;
pub mod read;
