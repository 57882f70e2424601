//! The order of all changes.

pub mod append;
pub mod read;
