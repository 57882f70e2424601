//! `futurity webhook-secret`: what webhooks are signed with. A running server sees each change at once.

use clap::Subcommand;

use crate::app::{Failure, wall_clock};
use crate::config::Config;
use crate::engine::secret::WebhookSecrets;

use super::{let_servers_see, prepare_data_dir, say, say_error};

/// What to do with the secret.
#[derive(Debug, Subcommand)]
pub(super) enum WebhookSecretCommand {
    /// Make a new secret and print it; for a day, the old one signs beside it
    Rotate {
        /// The old one signs no more: for a secret that others know
        #[arg(long)]
        at_once: bool,
    },
}

/// Prints the secret, or replaces it.
pub(super) fn run(command: Option<&WebhookSecretCommand>, config: &Config) -> Result<(), Failure> {
    prepare_data_dir(config)?;
    let failure =
        |source| Failure::Io { context: "the secret cannot be read or kept".to_owned(), source };
    let secrets = WebhookSecrets::open(&config.data_dir).map_err(failure)?;
    match command {
        None => say(&secrets.newest().map_err(failure)?.to_text())?,
        Some(WebhookSecretCommand::Rotate { at_once }) => {
            let new = secrets.rotate(wall_clock(), *at_once).map_err(failure)?;
            let_servers_see();
            say(&new.to_text())?;
            say_error(if *at_once {
                "deliveries are signed with it alone from now on"
            } else {
                "deliveries are signed with it and with the old one for a day: give it to the receivers"
            });
        }
    }
    Ok(())
}
