//! `futurity`: the server and its tools.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Threads free here what others allocated, a dozen times a job: docs/decisions/0027.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Commands and workers are started by a copy of this program.
    futurity::become_spawner_if_asked().unwrap_or_else(futurity::cli::run)
}
