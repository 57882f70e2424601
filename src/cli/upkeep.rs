//! `futurity fsck`, `backup` and `restore`: what an operator does with a data directory.

use std::path::Path;

use crate::app::{self, Failure};
use crate::config::Config;

use super::{runtime, say, say_error};

/// Looks through the data directory, and says what must not be so.
pub(super) fn fsck(config: &Config) -> Result<(), Failure> {
    told(runtime()?.block_on(app::fsck(config))?)
}

/// Copies the data directory into one file.
pub(super) fn backup(file: &Path, config: &Config) -> Result<(), Failure> {
    app::backup(config, file)?;
    let (file, from) = (file.display(), config.data_dir.display());
    say_error(&format!(
        "{file} has everything of {from}, its secrets too: keep it where nobody else reads it"
    ));
    Ok(())
}

/// Brings a backup into a data directory.
pub(super) fn restore(file: &Path, config: &Config) -> Result<(), Failure> {
    told(runtime()?.block_on(app::restore(config, file))?)
}

fn told([jobs, batches, callbacks, deliveries]: [i64; 4]) -> Result<(), Failure> {
    say(&format!(
        "all holds: {jobs} jobs, {batches} batches, {callbacks} callbacks, {deliveries} deliveries"
    ))
}
