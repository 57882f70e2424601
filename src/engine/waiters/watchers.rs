//! Those who wait for one job: one, nearly always.

use std::collections::BTreeMap;

use super::Watcher;

/// They, by the numbers of their requests.
#[derive(Debug)]
pub(super) enum Watchers {
    One(u64, Watcher),
    /// However many there are, each leaves in little time.
    Many(BTreeMap<u64, Watcher>),
}

impl Watchers {
    /// One more.
    pub(super) fn add(&mut self, number: u64, watcher: Watcher) {
        let before = std::mem::replace(self, Self::Many(BTreeMap::new()));
        let mut many = match before {
            Self::One(first, watcher) => BTreeMap::from([(first, watcher)]),
            Self::Many(many) => many,
        };
        many.insert(number, watcher);
        *self = Self::Many(many);
    }

    /// Takes those that are told now.
    pub(super) fn take(&mut self, is_told: impl Fn(&Watcher) -> bool) -> Vec<Watcher> {
        match self {
            Self::Many(many) => {
                many.extract_if(.., |_, it| is_told(it)).map(|(_, it)| it).collect()
            }
            Self::One(_, watcher) if is_told(watcher) => match self.take_all() {
                Self::One(_, watcher) => vec![watcher],
                Self::Many(_) => Vec::new(),
            },
            Self::One(..) => Vec::new(),
        }
    }

    /// Takes the one of that number; whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::Many(many) => many.remove(&number).is_some(),
            Self::One(first, _) => {
                let is_it = *first == number;
                if is_it {
                    drop(self.take_all());
                }
                is_it
            }
        }
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(many) if many.is_empty())
    }

    fn take_all(&mut self) -> Self {
        std::mem::replace(self, Self::Many(BTreeMap::new()))
    }
}
