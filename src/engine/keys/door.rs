//! The keys as a server that runs asks for them: at each request, and for as long as one lasts. It waits for no disk.

use std::collections::BTreeSet;
use std::time::Instant;

use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::engine::watched::{Content, Look, Seen, Watched};

use super::{Asker, Digest, Grant, Key, Need, Standing, Table};

/// Whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody needs a key, and it was said so: on loopback everything is allowed.
    Open,
    /// The key with this id allows it.
    Key(String),
    /// There is no key that works, and nobody said that none is needed.
    Locked,
    /// No key was given, and one is needed.
    Missing,
    /// The key is not known, or was revoked.
    Unknown,
    /// The key's time is over.
    Expired,
    /// The key with this id allows other things only.
    Forbidden(String, BTreeSet<Grant>),
    /// The file of keys cannot be read: nobody may.
    Unreadable,
}

/// Who is let in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    table: Watched<Table>,
}

impl Door {
    pub(super) fn new(table: Watched<Table>) -> Self {
        Self { table }
    }

    /// What a [`Watcher`](crate::engine::Watcher) does for it.
    #[must_use]
    pub fn looks(&self) -> Look {
        self.table.looks()
    }

    /// Whether a request that brought `given` may do what `needed` stands for, by what the file said at most
    /// [`SEEN_WITHIN`](crate::engine::SEEN_WITHIN) ago.
    pub async fn verdict(&self, given: Option<&str>, needed: Need) -> Verdict {
        let given = given.map(Digest::of);
        let verdict = |content: &Content<Table>| match content {
            Ok(table) => table.verdict(given.as_ref(), needed),
            Err(_unreadable) => Verdict::Unreadable,
        };
        match self.table.if_fresh(Instant::now(), verdict) {
            Some(verdict) => verdict,
            None => verdict(&Box::pin(self.table.next()).await),
        }
    }

    /// What keeps people out who should be let in, in a sentence.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        match &self.table.follow().borrow().content {
            Err(_unreadable) => Some("the file of keys cannot be read: nobody is let in"),
            Ok(table) => match table.standing() {
                Standing::Locked => Some("there is no API key: nobody is let in"),
                Standing::NoneWorks => Some("no API key works: nobody is let in"),
                Standing::Keyed | Standing::Open => None,
            },
        }
    }

    /// The leave that a request was given to do what `needed` stands for, by the key of this id or by none.
    #[must_use]
    pub fn leave(&self, key: Option<String>, needed: Need) -> Leave {
        Leave { seen: self.table.follow(), key, needed }
    }

    /// Whoever asks with the key of this id, or with none where nobody needs one.
    #[must_use]
    pub fn asker(&self, key: Option<String>) -> Asker {
        Asker::new(self.table.clone(), key)
    }
}

impl Table {
    fn verdict(&self, given: Option<&Digest>, needed: Need) -> Verdict {
        let without_a_key = match self.standing() {
            Standing::Open => return Verdict::Open,
            Standing::Locked => return Verdict::Locked,
            Standing::NoneWorks => Verdict::Locked,
            Standing::Keyed => Verdict::Missing,
        };
        let Some(given) = given else { return without_a_key };
        // The digest of what was given does not depend on any key, so its comparison tells nothing.
        let same = |key: &&Key| bool::from(key.sha256.0.ct_eq(&given.0));
        match self.keys.iter().find(same) {
            None => Verdict::Unknown,
            Some(key) if key.has_expired => Verdict::Expired,
            Some(key) if key.allows(needed) => Verdict::Key(key.id.clone()),
            Some(key) => Verdict::Forbidden(key.id.clone(), key.scopes.clone()),
        }
    }
}

/// What allows a request to go on, which may last for days.
#[derive(Debug)]
pub struct Leave {
    seen: watch::Receiver<Seen<Table>>,
    key: Option<String>,
    needed: Need,
}

impl Leave {
    /// Waits until what was allowed is allowed no more: the key is gone, its time is over, it allows something else now;
    /// or a key is needed where none was. While the file cannot be read, nothing is allowed.
    pub async fn ended(self) {
        let Self { mut seen, key, needed } = self;
        loop {
            let holds = stands(key.as_deref(), needed, &seen.borrow_and_update().content);
            if !holds {
                return;
            }
            if seen.changed().await.is_err() {
                // Nobody looks at the file any more: the server ends, and what is under way with it.
                return std::future::pending().await;
            }
        }
    }
}

fn stands(key: Option<&str>, needed: Need, content: &Content<Table>) -> bool {
    let holds = |key: &Key| key.allows(needed);
    content.as_ref().is_ok_and(|table| table.lets_in(key, holds))
}

impl Table {
    /// Whether whoever came with this key, or with none, is still let in, and the key allows what is asked of it.
    pub(super) fn lets_in(&self, key: Option<&str>, allows: impl Fn(&Key) -> bool) -> bool {
        match key {
            None => self.standing() == Standing::Open,
            Some(id) => self.keys.iter().any(|key| key.id == id && !key.has_expired && allows(key)),
        }
    }
}
