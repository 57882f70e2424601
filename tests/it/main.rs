//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod gate;
mod server;

mod functions;
mod results;
mod states;
mod submit;
mod values;
