//! What becomes of changes that the database refuses: some are refused in turn, and some are kept until they are written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Then, Writer};
use crate::store::contract::Failure;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::write::{IfRefused, Pending};

/// Once it is known that another process has the database, whoever asks is not kept waiting for it.
const LOCKED_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a server that ends waits for what is kept to be written.
const LAST_TRIES_WITHIN: Duration = Duration::from_secs(1);

impl Writer {
    /// Another process has locked the database: nothing was begun, so none of the members is tried by itself.
    pub fn put_off(
        &mut self,
        sql: Statements<'_>,
        members: Vec<Box<dyn Pending>>,
        error: &Failure,
    ) {
        if self.locked_since.is_none() {
            let since = Instant::now();
            self.locked_since = Some(since);
            self.health.locked(Some(since));
            tracing::warn!(%error, "another process has locked the database; what asks for a write is refused until it lets go");
            self.wait_for_locks(sql, LOCKED_TIMEOUT);
        }
        for staged in std::mem::take(&mut self.staged) {
            if is_kept_after(&*staged.write, error) {
                self.staged.push_back(staged);
            } else {
                self.abandoned.push(staged.payload);
                staged.write.answer(Some(error));
            }
        }
        members.into_iter().for_each(|member| self.refuse(member, error));
    }

    /// It could begin to write: nobody has locked the database any more.
    pub fn is_free(&mut self, sql: Statements<'_>) {
        if let Some(since) = self.locked_since.take() {
            self.health.locked(None);
            let seconds = since.elapsed().as_secs();
            tracing::warn!(seconds, "the database is not locked any more");
            self.wait_for_locks(sql, self.busy_timeout);
        }
    }

    fn wait_for_locks(&self, sql: Statements<'_>, at_most: Duration) {
        if let Err(error) = sql.connection().busy_timeout(at_most) {
            tracing::warn!(%error, "the writer waits for locks as long as before");
        }
    }

    /// What becomes of a change that `error` has kept from being written. What asks for nothing of the database is done.
    pub fn refuse(&mut self, mut write: Box<dyn Pending>, error: &Failure) {
        if write.run_on_slots(&mut self.slots) {
            // Whoever hears the answer knows of all outcomes that were sent before.
            self.tell_of_kept();
            write.answer(None);
        } else if is_kept_after(&*write, error) {
            self.later.keep(write, error);
        } else {
            // Nobody will own it.
            self.abandoned.extend(write.written_ahead());
            if !error.passes() {
                tracing::error!(%error, "a change was rolled back");
            }
            write.answer(Some(error));
        }
    }

    /// Tells how many outcomes wait to be recorded.
    pub fn tell_of_kept(&mut self) {
        self.later.tell(self.staged.iter().map(|staged| &*staged.write));
    }

    /// Writes what is still being written ahead, of which whoever waits for it was told that it would be, and what was kept. But
    /// an end does not wait for ever.
    pub(super) fn finish(&mut self, sql: Statements<'_>, mut then: Then) -> Then {
        let until = Instant::now() + LAST_TRIES_WITHIN;
        while then == Then::GoOn && !(self.staged.is_empty() && self.later.is_empty()) {
            if Instant::now() >= until {
                let staged: VecDeque<_> = std::mem::take(&mut self.staged);
                self.later.give_up(staged.into_iter().map(|staged| staged.write));
                break;
            }
            let (members, _) = self.next_group();
            then = self.commit(sql, members);
        }
        if then == Then::GoOn { Then::Close } else { then }
    }
}

/// Whether a write that `error` has kept from being written is tried again. What a client asks for is refused instead, and
/// what is due is looked for again by whoever found it.
fn is_kept_after(write: &dyn Pending, error: &Failure) -> bool {
    match write.if_refused() {
        IfRefused::Retry => true,
        IfRefused::RetryIfItPasses => error.passes(),
        IfRefused::Answer => false,
    }
}
