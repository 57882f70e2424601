//! Whom a server lets in when it starts: without a key nobody, unless it was said that nobody needs one.

use crate::config::{Config, InvalidConfig};
use crate::domain::Timestamp;
use crate::engine::keys::{self, Keys, Standing};
use crate::engine::secret::SEAL_KEY_FILE;

use super::{ADDRESS_FILE, DATABASE_FILE, Failure};

/// Each of them is left by a server or by a command for keys. That there is no file of keys then says nothing: it may have been
/// deleted.
const LEFT_BEHIND: [&str; 5] =
    [DATABASE_FILE, ADDRESS_FILE, SEAL_KEY_FILE, keys::FILE, keys::LOCK_FILE];

/// Says that nobody needs a key where a data directory begins, if only this machine reaches the server.
///
/// It fails where others reach the server too and there is no key that works: whoever can reach a server can run its functions.
pub(super) fn settle(config: &Config, keys: &Keys, now: Timestamp) -> Result<(), Failure> {
    let begins = !LEFT_BEHIND.iter().any(|name| config.data_dir.join(name).exists());
    if begins && config.is_local() {
        keys.begin_open().map_err(Failure::io("the file of keys cannot be made"))?;
    }
    if config.is_local() {
        return Ok(());
    }
    match keys.standing(now).map_err(Failure::io("the keys cannot be read"))? {
        Standing::Keyed => Ok(()),
        Standing::NoneWorks => {
            let none = "no API key works: each has expired or allows nothing";
            Err(Failure::Config(missing(config, none)))
        }
        Standing::Open | Standing::Locked => {
            Err(Failure::Config(missing(config, "there is no API key")))
        }
    }
}

fn missing(config: &Config, what: &str) -> InvalidConfig {
    let (reached, instead) = if config.listen.ip().is_loopback() {
        let names = config.hosts.join(", ");
        (
            format!("requests call the server {names}, so others reach it through a proxy"),
            "go by no --host",
        )
    } else {
        (format!("{} can be reached from other machines", config.listen), "listen on 127.0.0.1")
    };
    InvalidConfig(format!(
        "{reached}, and {what}: make one with `futurity keys create --data-dir {}`, or {instead}",
        config.data_dir.display()
    ))
}
