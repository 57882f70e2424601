//! What the tests are made with: a server, a program, a receiver, a gate; no test of a promise stands here.

pub mod contract;
pub mod gate;
pub mod lines;
pub mod process;
pub mod programs;
pub mod raw;
pub mod receiver;
pub mod server;
pub mod sse;
pub mod trace;
pub mod wire;
