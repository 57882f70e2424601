//! `futurity keys`: makes, lists and revokes API keys. A running server sees each change at once.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Subcommand;
use jiff::{Span, SpanRelativeTo};

use crate::app::{Failure, printed, wall_clock};
use crate::config::Config;
use crate::engine::keys::{Grant, Key, Keys, NewKey};

use super::{let_servers_see, prepare_data_dir, say, say_error};

/// As much as is shown of what a key is for.
const NAME_CHARS_MAX: usize = 256;
const LAST_REVOKED: &str = "it was the last one: nobody is let in now. Make another with `futurity keys create`, \
    or let everybody on this machine in with `futurity keys open`";
const OPENED: &str = "nobody on this machine needs a key now, if the server listens on loopback and goes by no other \
    --host. The next key that is made ends this";

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print it; it is shown this once
    Create(CreateOptions),
    /// List the keys, without their secrets
    List,
    /// Take a key back
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
    /// Let everybody on this machine in without a key, where there is none that works
    Open,
}

/// What a new key is to be.
#[derive(Debug, clap::Args)]
pub(super) struct CreateOptions {
    /// What it is for
    #[arg(long, default_value = "")]
    name: String,
    /// What it allows; repeated for more than one: submit (jobs and batches), read (wait and follow too), manage (cancel,
    /// complete, retry, forget; callbacks; pause queues), admin (everything), or a scope that functions ask for
    #[arg(long, default_value = "admin")]
    scope: Vec<String>,
    /// How long it holds, such as 90d, 12h or 30m; without it, until it is revoked
    #[arg(long, value_parser = lifetime)]
    expires_in: Option<Duration>,
}

/// Carries it out.
pub(super) fn run(command: KeysCommand, config: &Config) -> Result<(), Failure> {
    prepare_data_dir(config)?;
    let keys = Keys::new(&config.data_dir);
    let place = config.data_dir.display();
    let failure =
        |source| Failure::Io { context: format!("the keys in {place} cannot be changed"), source };
    match command {
        KeysCommand::Create(options) => {
            let (key, text) = keys.create(options.asked(config)?, wall_clock()).map_err(failure)?;
            say(&text)?;
            let_servers_see();
            let (id, scopes) = (&key.id, words(&key));
            say_error(&format!("key {id} made, for {scopes}; it is not shown again"));
        }
        KeysCommand::List => keys.list().map_err(failure)?.iter().try_for_each(show)?,
        KeysCommand::Revoke { id } => {
            let Some(left) = keys.revoke(&id).map_err(failure)? else {
                let source = std::io::Error::other(format!("there is no key {id}"));
                return Err(failure(source));
            };
            let_servers_see();
            say_error(&format!("key {id} revoked"));
            if left == 0 {
                say_error(LAST_REVOKED);
            }
        }
        KeysCommand::Open => {
            let spent = keys.open(wall_clock()).map_err(failure)?;
            let_servers_see();
            if spent > 0 {
                say_error(&format!("keys taken away that did not work any more: {spent}"));
            }
            say_error(OPENED);
        }
    }
    Ok(())
}

impl CreateOptions {
    fn asked(self, config: &Config) -> Result<NewKey, Failure> {
        let millis = |it: Duration| i64::try_from(it.as_millis()).unwrap_or(i64::MAX);
        let scopes = self.scope.iter().map(|word| grant(word, config));
        Ok(NewKey {
            name: self.name,
            scopes: scopes.collect::<Result<BTreeSet<_>, _>>()?,
            expires_at: self.expires_in.map(|it| wall_clock().plus_millis(millis(it))),
        })
    }
}

/// What a word allows. One that nothing asks for is a slip: a key with it would open nothing.
fn grant(word: &str, config: &Config) -> Result<Grant, Failure> {
    let asked_for = config.programs.scopes();
    match Grant::try_from(word.to_owned()) {
        Ok(grant @ Grant::Scope(_)) => Ok(grant),
        Ok(grant) if asked_for.contains(word) => Ok(grant),
        _ => {
            let mut known = vec!["submit", "read", "manage", "admin"];
            known.extend(asked_for);
            let known = known.join(", ");
            Err(Failure::Usage(format!(
                "no function or worker of the configuration asks for the scope '{word}'; possible values: {known}"
            )))
        }
    }
}

/// A length of time in jiff's friendly form; a day has 24 hours.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = |error: jiff::Error| format!("{error}; write 90d, 12h or 30m");
    let span: Span = text.parse().map_err(wrong)?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    let length = Duration::try_from(length).unwrap_or_default();
    if length.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(length) }
}

/// Its id, when it was made, when it ends, what it allows, what it is for.
fn show(key: &Key) -> Result<(), Failure> {
    let day = |ms| {
        let moment = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        format!("{moment:.0}")
    };
    let ends = key.expires_at_ms.map_or_else(|| "never".to_owned(), day);
    let name = printed(&key.name, NAME_CHARS_MAX);
    let (id, made, scopes) = (&key.id, day(key.created_at_ms), words(key));
    say(&format!("{id}\t{made}\t{ends}\t{scopes}\t{name}"))
}

fn words(key: &Key) -> String {
    let words: Vec<_> = key.scopes.iter().map(|scope| scope.word()).collect();
    words.join(",")
}
