//! Integration tests: a real server on a port of its own, a real SQLite file, through HTTP.

mod contract;
mod gate;
mod gates;
mod process;
mod raw;
mod receiver;
mod server;
mod trace;
mod wire;

mod bodies;
mod callbacks;
mod callbacks_durable;
mod cancel;
mod crash;
mod draining;
mod durability;
mod egress;
mod functions;
mod http_request;
mod keys;
mod list;
mod problems;
mod queue_shutdown;
mod queues;
mod queues_crash;
mod recovery;
mod refusal;
mod results;
mod states;
mod stop;
mod submit;
mod tour;
mod values;
mod waiting;
