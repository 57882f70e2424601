//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod gate;
mod raw;
mod server;

mod bodies;
mod draining;
mod functions;
mod list;
mod problems;
mod results;
mod states;
mod submit;
mod values;
