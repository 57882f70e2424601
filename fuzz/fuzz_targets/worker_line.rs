//! Lines of workers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::runtime::line(bytes));
