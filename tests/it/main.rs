//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod gates;
mod receiver;
mod server;

mod callbacks;
mod callbacks_durable;
mod cancel;
mod egress;
mod http_request;
mod submit;
mod waiting;
