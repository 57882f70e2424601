//! Futurity: `concurrent.futures` over HTTP.
//!
//! As a library, this crate is a server for functions of your own: write them in Rust, make them
//! callable with [`blocking`] or [`task`], and serve them with [`Server::builder`].

mod app;
pub mod cli;
mod config;
mod domain;
mod engine;
mod http;
mod outbound;
mod runtime;
mod store;
mod telemetry;

/// Readers of what strangers send, for fuzzers.
#[cfg(fuzzing)]
pub mod fuzz {
    pub use crate::engine::fuzz as engine;
    pub use crate::http::fuzz as http;
    pub use crate::outbound::fuzz as outbound;
    pub use crate::runtime::fuzz as runtime;
    pub use crate::store::fuzz as store;
}

pub use app::{Builder, Failure, Server};
pub use config::{
    Config, InvalidConfig, Isolation, Limits, LogFormat, Options, Programs, Proxies, Queue,
    SecretTable, Webhooks,
};
pub use domain::{
    Clocks, Defaults, ErrorType, FunctionName, Invalid, JobError, JobId, Json, OnInterrupt,
    QueueName, Retry,
};
pub use runtime::{Call, Fault, Native, Refusal, become_spawner_if_asked, blocking, task};
/// What an argument type derives its schema with.
pub use schemars;
