//! Where an answer redirects to.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::outbound::location(bytes));
