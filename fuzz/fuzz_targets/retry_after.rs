//! `Retry-After` of a receiver.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::engine::retry_after(bytes));
