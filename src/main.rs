//! `futurity`: the server and its tools.

use std::process::ExitCode;

/// Measured better than the system's on the durable path; see `docs/decisions/`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    futurity::cli::run()
}
