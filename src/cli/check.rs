//! `futurity check`: whether every command and worker can start.

use crate::app::{Failure, check, printed};
use crate::config::{Config, InvalidConfig};
use crate::telemetry::{Log, Writer};

use super::{runtime, say};

/// As much as is shown of what a program says.
const CHARS_MAX: usize = 4_096;

/// Says of each what it found; fails if one cannot start.
pub(super) fn run(config: &Config, errors: &Writer) -> Result<(), Failure> {
    // What workers say beside is in the log, and often says why they do not start.
    let _log = Log::start(&config.log, config.log_format, errors)?;
    let looked = runtime()?.block_on(check(config))?;
    let checked = looked.programs;
    let mut failed = 0;
    for it in &checked {
        match &it.found {
            Ok(found) => say(&format!("{}: {}", it.name, printed(found, CHARS_MAX)))?,
            Err(reason) => {
                failed += 1;
                say(&format!("{}: CANNOT START: {}", it.name, printed(reason, CHARS_MAX)))?;
            }
        }
    }
    for layer in looked.layers {
        say(&layer)?;
    }
    if failed > 0 {
        return Err(Failure::Config(InvalidConfig(format!(
            "{failed} of {} commands and workers cannot start",
            checked.len()
        ))));
    }
    say(&format!("the configuration holds; {} commands and workers can start", checked.len()))
}
