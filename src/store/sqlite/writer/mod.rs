//! The one writer: it groups whatever waits into one transaction, answers after the commit, and takes
//! the next group. No artificial delay: a group is what arrived during the last commit.

pub mod later;
mod refused;
pub mod staged;

use crate::domain::Timestamp;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::store::contract::{Event, Failure};
use crate::store::sqlite::commits::Committed;
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::durability::checkpoint;
use crate::store::sqlite::durability::checkpoint::Checkpointer;
use crate::store::sqlite::durability::ended::Note;
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::durability::high_water::HighWaterWriter;
use crate::store::sqlite::durability::space::Space;
use crate::store::sqlite::error::{OpenError, is_locked};
use crate::store::sqlite::group;
use crate::store::sqlite::handle::Message;
use crate::store::sqlite::hot::statements::HotStatements;
use crate::store::sqlite::queues::drain;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Done;
use crate::store::sqlite::values::chunks;
use crate::store::sqlite::values::stored::CHUNK_BYTES_MAX;
use crate::store::sqlite::write::{Pending, Phase};
use crate::store::sqlite::writer::later::Later;
use crate::store::sqlite::writer::staged::Staged;

/// Changes that may wait for the writer before those who send more are held back.
pub const WAITING_MAX: usize = 8_192;
/// Changes in one group.
const GROUP_MEMBERS_MAX: usize = 1_024;
/// Bytes in one group, about.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pieces written ahead in one group: 1 MiB.
const GROUP_PIECES_MAX: usize = 4;
/// While something waits to be tried again, so often it is looked whether there is anything else to do.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Gives the writer a thread of its own: it waits for the disk, and for nothing else.
pub fn start(writer: Writer, connection: Connection) -> Result<oneshot::Receiver<()>, OpenError> {
    let (ended, closed) = oneshot::channel();
    let run = move || {
        writer.run(connection);
        if ended.send(()).is_err() {
            tracing::debug!("nobody waited for the writer's end");
        }
    };
    std::thread::Builder::new().name("writer".to_owned()).spawn(run)?;
    Ok(closed)
}

/// What the thread of the writer has.
pub struct Writer {
    pub slots: Slots,
    pub counters: Counters,
    /// How far the counters are reserved in the database.
    pub kept: Counters,
    /// The latest moment that a change has brought.
    pub now: Timestamp,
    pub waiting: mpsc::Receiver<Message>,
    /// Changes with a large value, which is written ahead of them.
    pub staged: VecDeque<Staged>,
    /// A group that cancelled many at a time failed: the next one that succeeds goes on with it.
    pub cancels_later: bool,
    /// Payloads that nobody will own.
    pub abandoned: Vec<i64>,
    /// What the database refuses for the moment.
    pub later: Later,
    /// Since when another process has locked the database.
    pub locked_since: Option<Instant>,
    /// How long a lock is waited for before that is said.
    pub busy_timeout: Duration,
    /// Whether somebody asked for the end, rather than that all are gone who could ask for anything.
    pub is_told_to_end: bool,
    pub committed: mpsc::UnboundedSender<Committed>,
    pub checkpointer: Checkpointer,
    pub high_water: HighWaterWriter,
    pub space: Arc<Space>,
    pub health: Arc<Health>,
    pub note: Note,
}

/// Whether the writer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
    Break,
}

impl Writer {
    fn run(mut self, connection: Connection) {
        match checkpoint::count_pages(&connection)
            .and_then(|()| HotStatements::prepare(&connection))
        {
            Ok(held) => self.serve(Statements::new(&connection, &held)),
            Err(error) => {
                tracing::error!(%error, "the database failed; the server stops");
                self.breaks();
            }
        }
        if self.is_told_to_end {
            self.note.ended(self.counters.epoch);
        }
        // The last connection to close takes the log into the database.
        self.checkpointer.close();
        if let Err((_connection, error)) = connection.close() {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// Writes group after group, until it is told to close or the database fails.
    fn serve(&mut self, sql: Statements<'_>) {
        // The first group has no members: it claims what waited when the last server ended.
        let mut then = self.commit(sql, Vec::new());
        while then == Then::GoOn {
            let (members, last) = self.next_group();
            then = self.commit(sql, members);
            if last {
                then = self.finish(sql, then);
            }
        }
        if then == Then::Break {
            self.breaks();
        } else {
            self.leave(sql);
        }
    }

    /// The server ends by itself: whoever waits, now or later, hears that the store is closed.
    fn breaks(&self) {
        // At once: who knows how the rest of the server ends.
        self.note.ended(self.counters.epoch);
        self.tell(Vec::new(), vec![Event::Broken]);
    }

    /// Gives back what is reserved of the counters, and takes the log into the database.
    fn leave(&self, sql: Statements<'_>) {
        if let Err(error) = sql.keep(self.counters) {
            tracing::warn!(%error, "the next start leaves some numbers out");
        }
        if let Err(error) = checkpoint::passive(sql.connection()) {
            tracing::warn!(%error, "the last checkpoint failed; the next start repeats it");
        }
    }

    /// Waits for a change, then takes all that are there. True if the store is to be closed after them.
    fn next_group(&mut self) -> (Vec<Box<dyn Pending>>, bool) {
        let mut members = Vec::new();
        let mut bytes = 0;
        while members.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
            // A piece to write ahead, or jobs to cancel, are a reason for a group of its own.
            let is_idle = members.is_empty() && self.staged.is_empty() && !self.cancels();
            let write = match self.next(is_idle) {
                Ok(Message::Close) => {
                    self.is_told_to_end = true;
                    return (members, true);
                }
                Ok(Message::Write(write)) => write,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return (members, true),
            };
            if write.phase() == Phase::Submission && self.space.is_low() {
                write.answer(Some(&Failure::Full));
                continue;
            }
            let weight = write.bytes();
            bytes += weight.min(CHUNK_BYTES_MAX);
            let is_large = weight > CHUNK_BYTES_MAX;
            match is_large.then(|| write.large_value(CHUNK_BYTES_MAX)).flatten() {
                Some(text) => {
                    let payload = self.counters.next_payload();
                    self.staged.push_back(Staged { write, payload, text, pieces: 0 });
                }
                None => members.push(write),
            }
        }
        (members, false)
    }

    /// The next change. If the writer has nothing else to do, it waits for one, or until something is to be tried again.
    fn next(&mut self, is_idle: bool) -> Result<Message, TryRecvError> {
        if let Some(kept) = self.later.next() {
            return Ok(Message::Write(kept));
        }
        if !is_idle || self.locked_since.is_some() {
            // A lock is waited for by who begins to write.
            return self.waiting.try_recv();
        }
        while let Some(rest) = self.later.rest().filter(|rest| !rest.is_zero()) {
            match self.waiting.try_recv() {
                Err(TryRecvError::Empty) => std::thread::park_timeout(rest.min(LOOK_EVERY)),
                received => return received,
            }
        }
        match self.later.next() {
            Some(kept) => Ok(Message::Write(kept)),
            None => self.waiting.blocking_recv().ok_or(TryRecvError::Disconnected),
        }
    }

    /// Whether jobs are to be cancelled though nobody asks for anything.
    fn cancels(&self) -> bool {
        !self.cancels_later && self.slots.next_cancelling().is_some()
    }

    /// Commits `members`, with pieces of what is written ahead, and answers them.
    fn commit(&mut self, sql: Statements<'_>, mut members: Vec<Box<dyn Pending>>) -> Then {
        while self.staged.front().is_some_and(Staged::is_whole) {
            members.extend(self.staged.pop_front().map(Staged::into_write));
        }
        let then = match self.try_commit(sql, &mut members, GROUP_PIECES_MAX) {
            Ok(events) => {
                self.cancels_later &= members.is_empty();
                self.tell(members, events);
                self.checkpointer.committed(sql.connection());
                Then::GoOn
            }
            Err(error @ Failure::OutcomeUnknown(_)) => {
                tracing::error!(%error, "the database failed; the server stops");
                members.into_iter().for_each(|write| write.answer(Some(&error)));
                Then::Break
            }
            Err(error) if is_locked(&error) => {
                self.put_off(sql, members, &error);
                Then::GoOn
            }
            Err(error) => {
                if !error.passes() {
                    tracing::error!(%error, "a group was rolled back; its members are tried one by one");
                }
                if matches!(error, Failure::Full) {
                    self.space.is_full();
                }
                self.give_up_staged(&error);
                self.cancels_later = true;
                self.commit_singly(sql, members)
            }
        };
        self.tell_of_kept();
        then
    }

    /// The group failed, perhaps for what was to be written ahead: that is given up, and its pieces are
    /// deleted with the next group. Kept, it would be tried again without end.
    fn give_up_staged(&mut self, error: &Failure) {
        if let Some(staged) = self.staged.pop_front() {
            self.abandoned.push(staged.payload);
            self.refuse(staged.write, error);
        }
    }

    fn commit_singly(&mut self, sql: Statements<'_>, members: Vec<Box<dyn Pending>>) -> Then {
        for member in members {
            let mut alone = vec![member];
            match self.try_commit(sql, &mut alone, 0) {
                Ok(events) => self.tell(alone, events),
                Err(error @ Failure::OutcomeUnknown(_)) => {
                    tracing::error!(%error, "the database failed; the server stops");
                    alone.into_iter().for_each(|write| write.answer(Some(&error)));
                    return Then::Break;
                }
                Err(error) if is_locked(&error) => self.put_off(sql, alone, &error),
                Err(error) => alone.into_iter().for_each(|write| self.refuse(write, &error)),
            }
        }
        Then::GoOn
    }

    /// Hands a committed group on, to be answered while the next one is written.
    fn tell(&self, members: Vec<Box<dyn Pending>>, events: Vec<Event>) {
        // With nobody left to hear, the server is on its way out.
        drop(self.committed.send(Committed { members, events }));
    }

    /// Writes one group and gives what it did.
    fn try_commit(
        &mut self,
        sql: Statements<'_>,
        members: &mut [Box<dyn Pending>],
        pieces: usize,
    ) -> Result<Vec<Event>, Failure> {
        let written = self.write(sql, members, pieces);
        if let Err(error) = &written {
            sql.roll_back();
            self.slots.roll_back();
            if is_locked(error) {
                return written;
            }
        }
        self.is_free(sql);
        written
    }

    fn write(
        &mut self,
        sql: Statements<'_>,
        members: &mut [Box<dyn Pending>],
        pieces: usize,
    ) -> Result<Vec<Event>, Failure> {
        let mut txn = group::begin(sql, &mut self.slots, self.counters, self.now)?;
        for payload in &self.abandoned {
            chunks::delete_payload(sql, *payload)?;
        }
        let staged = self.staged.front().filter(|_| pieces > 0);
        if let Some(staged) = staged {
            for number in staged.next_pieces(pieces) {
                chunks::write_ahead(&mut txn, staged.payload, number, staged.piece(number))?;
            }
        }
        if !members.is_empty() {
            drain::limit_portion(&mut txn, drain::PORTION_AMONG_OTHERS);
        }
        group::run(&mut txn, members)?;
        if pieces > 0 {
            drain::cancel_marked(&mut txn)?;
        }
        let Done { counters, now, events } = group::commit(txn, &mut self.kept)?;
        (self.counters, self.now) = (counters, now);
        self.high_water.keep(counters);
        self.health.runs_alone(self.slots.runs_alone());
        self.abandoned.clear();
        if let Some(staged) = self.staged.front_mut() {
            staged.pieces = staged.next_pieces(pieces).end;
        }
        Ok(events)
    }
}
