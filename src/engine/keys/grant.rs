//! What keys allow, and what requests need of them.

use serde::{Deserialize, Serialize};

use crate::domain::{Invalid, ScopeName};

/// What a key allows of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To make jobs and batches.
    Submit,
    /// To look at everything, to wait and to follow.
    Read,
    /// To cancel, complete, retry and forget jobs, to add and repeat callbacks, to pause queues.
    Manage,
    /// Everything: settings of queues and their end besides the others.
    Admin,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Submit, Self::Read, Self::Manage, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

/// What a key allows: something of the service, or to call the functions that ask for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Grant {
    /// Of the service.
    Scope(Scope),
    /// Functions that ask for it.
    Calls(ScopeName),
}

impl Grant {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Scope(scope) => scope.word(),
            Self::Calls(name) => name.as_str(),
        }
    }
}

impl From<Scope> for Grant {
    fn from(scope: Scope) -> Self {
        Self::Scope(scope)
    }
}

impl TryFrom<String> for Grant {
    type Error = Invalid;

    fn try_from(word: String) -> Result<Self, Invalid> {
        match Scope::ALL.into_iter().find(|scope| scope.word() == word) {
            Some(scope) => Ok(Self::Scope(scope)),
            None => ScopeName::new(&word).map(Self::Calls),
        }
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.word().to_owned()
    }
}

/// What a request needs of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// That it holds, whatever it allows.
    AnyKey,
    /// That it allows this.
    Scope(Scope),
}

impl Need {
    /// Whether what needs no more than this changes nothing.
    #[must_use]
    pub fn only_reads(self) -> bool {
        matches!(self, Self::AnyKey | Self::Scope(Scope::Read))
    }

    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AnyKey => "anything",
            Self::Scope(scope) => scope.word(),
        }
    }
}

impl From<Scope> for Need {
    fn from(scope: Scope) -> Self {
        Self::Scope(scope)
    }
}
