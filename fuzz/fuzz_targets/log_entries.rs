//! Entries of the log of changes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::store::entries(bytes));
