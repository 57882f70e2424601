//! `futurity`: the server and its tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    futurity::cli::run()
}
