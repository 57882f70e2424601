//! What is kept of queues.

use rusqlite::{Result, params};

use crate::domain::QueueName;
use crate::store::ledger::KeptQueue;

use super::Statements;

const KEEP_QUEUE: &str =
    "insert into queues (name, max_workers, max_pending, paused, shutdown, cancel_to)
values (?, ?, ?, ?, ?, ?)
on conflict (name) do update set max_workers = excluded.max_workers, max_pending = excluded.max_pending,
    paused = excluded.paused, shutdown = excluded.shutdown, cancel_to = excluded.cancel_to";

impl Statements<'_> {
    /// Keeps what was asked of a queue: from now on its row has the word, not the file.
    pub(in crate::store) fn keep_queue(self, name: &QueueName, kept: &KeptQueue) -> Result<()> {
        let KeptQueue { settings, paused, shutdown, cancel_to } = *kept;
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let (max_workers, max_pending) =
            (number(settings.max_workers), number(settings.max_pending));
        let values = params![name.as_str(), max_workers, max_pending, paused, shutdown, cancel_to];
        self.run(KEEP_QUEUE, values).map(drop)
    }
}
