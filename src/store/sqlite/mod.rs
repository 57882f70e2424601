//! SQLite: everything of it, and nothing else.

pub mod batches;
pub mod callbacks;
pub mod capacity;
pub mod change_feed;
pub mod commits;
pub mod connection;
pub mod counters;
pub mod durability;
pub mod error;
pub mod group;
pub mod handle;
pub mod hot;
pub mod job_log;
pub mod jobs;
#[cfg(test)]
mod plans;
pub mod queues;
pub mod row;
pub mod schema;
pub mod slots;
pub mod start;
pub mod statements;
#[cfg(test)]
pub mod tests;
pub mod txn;
pub mod unwritten;
pub mod values;
pub mod write;
pub mod writer;

pub use callbacks::outbox::Outbox;
pub use commits::Commits;
pub use durability::backup::{BackupFile, backup, restore};
pub use durability::fsck::fsck;
pub use error::OpenError;
pub use handle::{Answer, Sqlite};
pub use start::open;
