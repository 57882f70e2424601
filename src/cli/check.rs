//! `futurity check`: whether every command and worker can start.

use crate::app::{Failure, check};
use crate::config::{Config, InvalidConfig};

use super::{runtime, say};

/// Says of each what it found; fails if one cannot start.
pub(super) fn run(config: &Config) -> Result<(), Failure> {
    let looked = runtime()?.block_on(check(config))?;
    let checked = looked.programs;
    let mut failed = 0;
    for it in &checked {
        match &it.found {
            Ok(found) => say(&format!("{}: {found}", it.name))?,
            Err(reason) => {
                failed += 1;
                say(&format!("{}: CANNOT START: {reason}", it.name))?;
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
