//! What every benchmark begins and ends with.

use std::process::ExitCode;

use anyhow::Result;

/// Runs a benchmark, if `cargo bench` asks for it, and says why there is no result.
pub fn run(measure: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    // `cargo test` and nextest may run this too, to list tests or to run them: there are none.
    if !std::env::args_os().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    measure().unwrap_or_else(|error| {
        eprintln!("no result: {error:#}");
        ExitCode::FAILURE
    })
}
