//! The one writer: it groups whatever waits into one transaction, answers after the commit, and takes
//! the next group. No artificial delay: a group is what arrived during the last commit.

mod refused;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::domain::Timestamp;

use super::change::Change;
use super::commits::{Commits, Committed};
use super::ended::{self, Note};
use super::group::{Counters, Done, Group, PORTION_AMONG_OTHERS};
use super::health::Health;
use super::later::Later;
use super::ledger::Ledger;
use super::payload::{CHUNK_BYTES_MAX, Staged, large_value};
use super::space::Space;
use super::sqlite::checkpoint::{self, Checkpointer};
use super::sqlite::write::{Held, Statements};
use super::sqlite::{self, OpenError};
use super::{Config, Error, Event, Opened, Store, mark, patience, recovery};

/// Changes that may wait for the writer before those who send more are held back.
const WAITING_MAX: usize = 8_192;
/// Changes in one group.
const GROUP_MEMBERS_MAX: usize = 1_024;
/// Bytes in one group, about.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pieces written ahead in one group: 1 MiB.
const GROUP_PIECES_MAX: usize = 4;
/// While something waits to be tried again, so often it is looked whether there is anything else to do.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn open(config: Config, now: Timestamp) -> Result<Opened, OpenError> {
    let database = config.path.file.clone();
    let space = Arc::new(Space::of(&database));
    let ended = ended::epoch(&database);
    let mut connection = connected(&config).await?;
    let readers = sqlite::open_readers(&config.path).await?;
    let mut ledger = Ledger::new(&config);
    let mut found = recovery::recover(&mut connection, &mut ledger, &readers, (now, ended)).await?;
    // A schedule is a matter of time that passes, and the last server's clock may have been ahead of ours.
    let latest = now.plus_millis(config.delivery_wait_ms_max);
    found.commit(&connection, (&mut ledger, now), |group| group.bring_forward(latest))?;
    recovery::load_queues(&connection, &mut ledger)?;
    recovery::load_waiting(&connection, &config, &mut ledger, found.has_culprit)?;
    let suspects = ledger.suspects();
    let suspect_deliveries = std::mem::take(&mut found.suspect_deliveries);
    let health = Arc::new(Health::default());
    checkpoint::count_pages(&connection)?;
    let mark = mark::Keeper::start(&database, found.counters, Arc::clone(&health))?;
    let checkpointer =
        Checkpointer::start(sqlite::open_checkpointer(&config.path)?, Arc::clone(&health))?;
    let (changes, waiting) = mpsc::channel(WAITING_MAX);
    let (committed, commits) = Commits::channel();
    let writer = Writer {
        ledger,
        counters: found.counters,
        kept: found.kept,
        now,
        waiting,
        staged: VecDeque::new(),
        cancels_later: false,
        abandoned: Vec::new(),
        later: Later::new(Arc::clone(&health)),
        locked_since: None,
        busy_timeout: config.path.busy_timeout,
        is_told_to_end: false,
        committed,
        checkpointer,
        mark,
        space,
        health: Arc::clone(&health),
        note: Note::start(&database)?,
    };
    health.runs_alone(writer.ledger.runs_alone());
    let space = Arc::clone(&writer.space);
    let closed = start(writer, connection)?;
    let turns = Arc::new(Semaphore::new(sqlite::READERS_MAX as usize));
    let store = Store { changes, readers, turns, space, health };
    Ok(Opened {
        store,
        commits,
        closed,
        recovered: found.recovered,
        failed: found.failed,
        suspects,
        suspect_deliveries,
    })
}

/// The database, brought up to date, once it is known that nothing is lost, or that this is accepted.
async fn connected(config: &Config) -> Result<Connection, OpenError> {
    let database = &config.path.file;
    let loss = mark::loss(database)?;
    if let Some(lost) = loss.as_ref().filter(|_| !config.accept_data_loss) {
        return Err(OpenError::Lost(lost.clone()));
    }
    let connection = patience::opened(&config.path).await?;
    if let Some(lost) = loss {
        tracing::warn!(lost, "going on without what is lost, as asked");
        sqlite::check_whole(&connection)?;
        mark::accept(&connection, database)?;
    }
    Ok(connection)
}

/// Gives the writer a thread of its own: it waits for the disk, and for nothing else.
fn start(writer: Writer, connection: Connection) -> Result<oneshot::Receiver<()>, OpenError> {
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

struct Writer {
    ledger: Ledger,
    counters: Counters,
    /// How far the counters are reserved in the database.
    kept: Counters,
    /// The latest moment that a change has brought.
    now: Timestamp,
    waiting: mpsc::Receiver<Change>,
    /// Changes with a large value, which is written ahead of them.
    staged: VecDeque<Staged>,
    /// A group that cancelled many at a time failed: the next one that succeeds goes on with it.
    cancels_later: bool,
    /// Payloads that nobody will own.
    abandoned: Vec<i64>,
    /// What the database refuses for the moment.
    later: Later,
    /// Since when another process has locked the database.
    locked_since: Option<Instant>,
    /// How long a lock is waited for before that is said.
    busy_timeout: Duration,
    /// Whether somebody asked for the end, rather than that all are gone who could ask for anything.
    is_told_to_end: bool,
    committed: mpsc::UnboundedSender<Committed>,
    checkpointer: Checkpointer,
    mark: mark::Keeper,
    space: Arc<Space>,
    health: Arc<Health>,
    note: Note,
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
        match checkpoint::count_pages(&connection).and_then(|()| Held::prepare(&connection)) {
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
    fn next_group(&mut self) -> (Vec<Change>, bool) {
        let mut members = Vec::new();
        let mut bytes = 0;
        while members.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
            // A piece to write ahead, or jobs to cancel, are a reason for a group of its own.
            let is_idle = members.is_empty() && self.staged.is_empty() && !self.cancels();
            let change = match self.next(is_idle) {
                Ok(Change::Close) => {
                    self.is_told_to_end = true;
                    return (members, true);
                }
                Ok(change) => change,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return (members, true),
            };
            if change.is_submission() && self.space.is_low() {
                change.answer(Some(&Error::Full));
                continue;
            }
            bytes += change.weight().min(CHUNK_BYTES_MAX);
            match (change.weight() > CHUNK_BYTES_MAX).then(|| large_value(&change)).flatten() {
                Some(text) => {
                    let payload = self.counters.next_payload();
                    self.staged.push_back(Staged { change, payload, text, pieces: 0 });
                }
                None => members.push(change),
            }
        }
        (members, false)
    }

    /// The next change. If the writer has nothing else to do, it waits for one, or until something is to be tried again.
    fn next(&mut self, is_idle: bool) -> Result<Change, TryRecvError> {
        if let Some(kept) = self.later.next() {
            return Ok(kept);
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
            Some(kept) => Ok(kept),
            None => self.waiting.blocking_recv().ok_or(TryRecvError::Disconnected),
        }
    }

    /// Whether jobs are to be cancelled though nobody asks for anything.
    fn cancels(&self) -> bool {
        !self.cancels_later && self.ledger.next_cancelling().is_some()
    }

    /// Commits `members`, with pieces of what is written ahead, and answers them.
    fn commit(&mut self, sql: Statements<'_>, mut members: Vec<Change>) -> Then {
        while self.staged.front().is_some_and(Staged::is_whole) {
            members.extend(self.staged.pop_front().map(Staged::into_change));
        }
        let then = match self.try_commit(sql, &mut members, GROUP_PIECES_MAX) {
            Ok(events) => {
                self.cancels_later &= members.is_empty();
                self.tell(members, events);
                self.checkpointer.committed(sql.connection());
                Then::GoOn
            }
            Err(error @ Error::OutcomeUnknown(_)) => {
                tracing::error!(%error, "the database failed; the server stops");
                members.into_iter().for_each(|change| change.answer(Some(&error)));
                Then::Break
            }
            Err(error) if error.is_locked() => {
                self.put_off(sql, members, &error);
                Then::GoOn
            }
            Err(error) => {
                if !error.passes() {
                    tracing::error!(%error, "a group was rolled back; its members are tried one by one");
                }
                if matches!(error, Error::Full) {
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
    fn give_up_staged(&mut self, error: &Error) {
        if let Some(staged) = self.staged.pop_front() {
            self.abandoned.push(staged.payload);
            self.refuse(staged.change, error);
        }
    }

    fn commit_singly(&mut self, sql: Statements<'_>, members: Vec<Change>) -> Then {
        for member in members {
            let mut alone = vec![member];
            match self.try_commit(sql, &mut alone, 0) {
                Ok(events) => self.tell(alone, events),
                Err(error @ Error::OutcomeUnknown(_)) => {
                    tracing::error!(%error, "the database failed; the server stops");
                    alone.into_iter().for_each(|change| change.answer(Some(&error)));
                    return Then::Break;
                }
                Err(error) if error.is_locked() => self.put_off(sql, alone, &error),
                Err(error) => alone.into_iter().for_each(|change| self.refuse(change, &error)),
            }
        }
        Then::GoOn
    }

    /// Hands a committed group on, to be answered while the next one is written.
    fn tell(&self, members: Vec<Change>, events: Vec<Event>) {
        // With nobody left to hear, the server is on its way out.
        drop(self.committed.send(Committed { members, events }));
    }

    /// Writes one group and gives what it did.
    fn try_commit(
        &mut self,
        sql: Statements<'_>,
        members: &mut [Change],
        pieces: usize,
    ) -> Result<Vec<Event>, Error> {
        let written = self.write(sql, members, pieces);
        if let Err(error) = &written {
            sql.roll_back();
            self.ledger.roll_back();
            if error.is_locked() {
                return written;
            }
        }
        self.is_free(sql);
        written
    }

    fn write(
        &mut self,
        sql: Statements<'_>,
        members: &mut [Change],
        pieces: usize,
    ) -> Result<Vec<Event>, Error> {
        let mut group = Group::begin(sql, &mut self.ledger, self.counters, self.now)?;
        for payload in &self.abandoned {
            group.abandon(*payload)?;
        }
        let staged = self.staged.front().filter(|_| pieces > 0);
        if let Some(staged) = staged {
            for number in staged.next_pieces(pieces) {
                group.write_ahead(staged.payload, number, staged.piece(number))?;
            }
        }
        if !members.is_empty() {
            group.limit_portion(PORTION_AMONG_OTHERS);
        }
        group.apply(members)?;
        if pieces > 0 {
            group.cancel_marked()?;
        }
        let Done { counters, now, events } = group.commit(&mut self.kept)?;
        (self.counters, self.now) = (counters, now);
        self.mark.keep(counters);
        self.health.runs_alone(self.ledger.runs_alone());
        self.abandoned.clear();
        if let Some(staged) = self.staged.front_mut() {
            staged.pieces = staged.next_pieces(pieces).end;
        }
        Ok(events)
    }
}
