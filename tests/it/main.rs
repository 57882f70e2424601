//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod gate;
mod gates;
mod raw;
mod receiver;
mod server;

mod bodies;
mod callbacks;
mod callbacks_durable;
mod cancel;
mod draining;
mod egress;
mod functions;
mod http_request;
mod list;
mod problems;
mod results;
mod states;
mod submit;
mod tour;
mod values;
mod waiting;
