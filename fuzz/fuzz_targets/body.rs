//! Bodies of requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::http::body(bytes));
