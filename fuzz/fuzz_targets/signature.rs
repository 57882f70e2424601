//! Header fields of webhooks.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| futurity::fuzz::outbound::signature(bytes));
