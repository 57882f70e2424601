//! `futurity keys`: makes, lists and revokes API keys. A running server sees each change at once.

use clap::Subcommand;

use crate::app::{Failure, wall_clock};
use crate::config::Config;
use crate::engine::keys::{Key, Keys};

use super::{let_servers_see, prepare_data_dir, say, say_error};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and print it; it is shown this once
    Create {
        /// What it is for
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List the keys, without their secrets
    List,
    /// Take a key back
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// Carries it out.
pub(super) fn run(command: &Command, config: &Config) -> Result<(), Failure> {
    prepare_data_dir(config)?;
    let keys = Keys::new(&config.data_dir);
    let failure = |source| Failure::Io { context: "the keys cannot be changed".to_owned(), source };
    match command {
        Command::Create { name } => {
            let (key, text) = keys.create(name, wall_clock()).map_err(failure)?;
            say(&text);
            let_servers_see();
            say_error(&format!("key {} made; it is not shown again", key.id));
        }
        Command::List => keys.list().map_err(failure)?.iter().for_each(show),
        Command::Revoke { id } => {
            if !keys.revoke(id).map_err(failure)? {
                let source = std::io::Error::other(format!("there is no key {id}"));
                return Err(failure(source));
            }
            let_servers_see();
            say_error(&format!("key {id} revoked"));
        }
    }
    Ok(())
}

fn show(key: &Key) {
    let made = jiff::Timestamp::from_millisecond(key.created_at_ms).unwrap_or(jiff::Timestamp::MIN);
    say(&format!("{}\t{made:.0}\t{}", key.id, key.name));
}
