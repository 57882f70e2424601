//! Callbacks and their deliveries: a verb a file.

pub mod add;
pub mod deaths;
pub mod deliver;
pub mod due;
pub mod find;
pub mod outbox;
pub mod pages;
pub mod redeliver;
pub mod take_away;
