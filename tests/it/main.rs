//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod server;

mod submit;
mod tour;
