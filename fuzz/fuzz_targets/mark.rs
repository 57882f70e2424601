//! High-water marks.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::store::mark(bytes));
