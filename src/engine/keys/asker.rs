//! Who asks for a call, for functions that not everybody may call. It is looked at when the call is asked for: a request may
//! last for days.

use std::fmt;

use crate::domain::ScopeName;
use crate::engine::watched::Watched;

use super::{Key, Table};

/// One who asks. Who is nobody in particular may call what asks for no scope.
#[derive(Clone, Default)]
pub struct Asker(Option<Known>);

#[derive(Clone)]
struct Known {
    table: Watched<Table>,
    /// The id of the key; none where nobody needs one.
    key: Option<String>,
}

impl Asker {
    pub(super) fn new(table: Watched<Table>, key: Option<String>) -> Self {
        Self(Some(Known { table, key }))
    }

    /// Whether it may call a function that asks for this scope.
    #[must_use]
    pub fn may_call(&self, scope: &ScopeName) -> bool {
        self.0.as_ref().is_some_and(|Known { table, key }| {
            let allows = |key: &Key| key.allows_calls(scope);
            let seen = table.follow();
            let seen = seen.borrow();
            seen.content.as_ref().is_ok_and(|table| table.lets_in(key.as_deref(), allows))
        })
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0.as_ref().and_then(|known| known.key.as_deref());
        formatter.debug_tuple("Asker").field(&key).finish()
    }
}
