//! What is asked of a queue: settings, pause, shutdown.

use rusqlite::params;

use crate::domain::{Ordinal, QueueName, Timestamp};
use crate::store::contract::{
    Error, Failure, Ordered, Queue, QueueChange, QueueOrder, QueueSettings, Refusal,
};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::claim;
use crate::store::sqlite::queues::drain;
use crate::store::sqlite::slots::{QueueRow, Slots};
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Ran, Write};

const KEEP_QUEUE: &str =
    "insert into queues (name, max_workers, max_pending, paused, shutdown, cancel_to, expires_ms)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (name) do update set max_workers = excluded.max_workers, max_pending = excluded.max_pending,
    paused = excluded.paused, shutdown = excluded.shutdown, cancel_to = excluded.cancel_to,
    expires_ms = excluded.expires_ms";

const DROP_QUEUE: &str = "delete from queues where name = ?";

/// What may start then is started. A refusal has written nothing.
impl Write for QueueOrder {
    type Output = Ordered;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Ordered> {
        let name = &self.queue;
        let before = match (txn.slots.kept(name), &self.change) {
            (Some(kept), _) => Ok(kept),
            (None, QueueChange::Set { .. }) => txn.slots.new_queue(),
            (None, _) => Err(Refusal::UnknownQueue(name.clone())),
        };
        let before = match before {
            Ok(before) => before,
            Err(refusal) => return Ok(Err(refusal)),
        };
        txn.now = txn.now.max(self.now);
        let cancels = self.change == QueueChange::ShutDown { cancel_futures: true };
        let mut kept = changed(before, &self.change);
        if cancels {
            kept.cancel_to = Some(txn.counters.seq);
        }
        keep_queue(txn.sql, name, &kept)?;
        txn.slots.keep_queue(name, kept);
        let mut cancelled = 0;
        if cancels {
            cancelled = txn.slots.cancel_waiting(name, Ordinal(txn.counters.ordinal));
            drain::cancel_marked(txn)?;
        }
        claim::claim(txn)?;
        Ok(queue(txn, name).map(|queue| Ordered { queue, cancelled }))
    }
}

/// The queues as the group has them by then: that of one name, or all.
#[derive(Debug)]
struct ReadQueues {
    name: Option<QueueName>,
}

impl Write for ReadQueues {
    type Output = Vec<Queue>;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Vec<Queue>> {
        Ok(Ok(txn.slots.queues(self.name.as_ref())))
    }

    fn run_on_slots(&mut self, slots: &mut Slots) -> Option<Vec<Queue>> {
        Some(slots.queues(self.name.as_ref()))
    }
}

impl Sqlite {
    pub async fn change_queue(&self, order: QueueOrder) -> Result<Ordered, Error> {
        let Ordered { queue, cancelled } = self.write(order).await?;
        let mut queues = [queue];
        self.add_waits(&mut queues).await?;
        let [queue] = queues;
        Ok(Ordered { queue, cancelled })
    }

    pub async fn queues(&self, name: Option<QueueName>) -> Result<Vec<Queue>, Error> {
        let unknown = name.clone();
        let mut queues = self.write(ReadQueues { name }).await?;
        if let Some(unknown) = unknown.filter(|_| queues.is_empty()) {
            return Err(Refusal::UnknownQueue(unknown).into());
        }
        self.add_waits(&mut queues).await?;
        Ok(queues)
    }
}

pub fn queue(txn: &Txn<'_>, name: &QueueName) -> Result<Queue, Refusal> {
    let found = txn.slots.queues(Some(name)).pop();
    found.ok_or_else(|| Refusal::UnknownQueue(name.clone()))
}

fn changed(before: QueueRow, change: &QueueChange) -> QueueRow {
    match change {
        QueueChange::Set { max_workers, max_pending, expires_ms } => {
            let settings = QueueSettings {
                max_workers: max_workers.unwrap_or(before.settings.max_workers),
                max_pending: max_pending.unwrap_or(before.settings.max_pending),
            };
            let expires_ms = expires_ms.or(before.expires_ms);
            QueueRow { settings, shutdown: false, expires_ms, ..before }
        }
        QueueChange::Pause => QueueRow { paused: true, ..before },
        QueueChange::Resume => QueueRow { paused: false, ..before },
        // What an earlier shutdown asked to cancel stays asked (E15).
        QueueChange::ShutDown { .. } => QueueRow { shutdown: true, ..before },
    }
}

/// Keeps what was asked of a queue: from now on its row has the word, not the file.
pub fn keep_queue(sql: Statements<'_>, name: &QueueName, kept: &QueueRow) -> rusqlite::Result<()> {
    let QueueRow { settings, paused, shutdown, cancel_to, expires_ms } = *kept;
    let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let (max_workers, max_pending) = (number(settings.max_workers), number(settings.max_pending));
    let name = name.as_str();
    let values = params![name, max_workers, max_pending, paused, shutdown, cancel_to, expires_ms];
    sql.run(KEEP_QUEUE, values).map(drop)
}

/// Drops queues that have been empty as long as they may be; gives when the next one is to be looked at.
pub fn drop_expired(txn: &mut Txn<'_>, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let (expired, next) = txn.slots.expired_queues(now);
    for name in &expired {
        txn.sql.run(DROP_QUEUE, [name.as_str()])?;
        txn.slots.drop_queue(name);
    }
    Ok(next)
}
