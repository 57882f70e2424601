//! The log.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{InvalidConfig, LogFormat};

/// Starts logging to standard error. Only the first call of a process counts.
///
/// # Errors
/// [`InvalidConfig`] if `filter` cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), InvalidConfig> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| InvalidConfig(format!("--log '{filter}': {error}")))?;
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written, on a disk that is full, is no reason to panic (G16).
        .log_internal_errors(false)
        .with_ansi(colours);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    Ok(())
}
