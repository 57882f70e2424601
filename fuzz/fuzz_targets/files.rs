//! Files of keys and secrets.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::engine::files(bytes));
