//! `futurity`: the server and its tools.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Threads free here what others allocated, a dozen times a job: docs/decisions/0027.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    futurity::cli::run()
}
