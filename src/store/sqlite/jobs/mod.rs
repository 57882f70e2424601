//! Jobs: a verb a file, with its statements and its write.

pub mod ask_to_stop;
pub mod cancel;
pub mod cancel_many;
pub mod cancel_waiting;
pub mod claim;
pub mod complete;
pub mod end;
pub mod filter;
pub mod gone;
pub mod idempotency;
pub mod indexing;
pub mod manual;
pub mod read;
pub mod remove;
pub mod repeats;
pub mod retention;
pub mod standings;
pub mod submit;
pub mod tags;
pub mod timers;
pub mod unfinished;
