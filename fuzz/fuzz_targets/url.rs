//! Addresses of jobs and callbacks.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::outbound::url(bytes));
