//! Batches: a verb a file.

pub mod add_callback;
pub mod cancel_rest;
pub mod change;
pub mod close;
pub mod counts;
pub mod create;
pub mod ends;
pub mod pages;
pub mod retention;
pub mod submit_many;
