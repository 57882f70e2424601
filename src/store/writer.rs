//! The one writer: it groups whatever waits into one transaction, answers after the commit, and takes
//! the next group. No artificial delay: a group is what arrived during the last commit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::{Ordinal, State, Timestamp};

use super::change::Change;
use super::group::{Counters, Group};
use super::ledger::{Ledger, Slot};
use super::payload::{CHUNK_BYTES_MAX, Staged, large_value};
use super::sqlite::script::{self, Ahead, Changed};
use super::sqlite::{self, OpenError, checkpoint};
use super::{Config, Error, Event, Opened, Store, recovery};

/// Changes that may wait for the writer before those who send more are held back.
const WAITING_MAX: usize = 8_192;
/// Changes in one group.
const GROUP_MEMBERS_MAX: usize = 1_024;
/// Bytes in one group, about.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pieces written ahead in one group: 1 MiB.
const GROUP_PIECES_MAX: usize = 4;

pub(super) async fn open(config: Config, now: Timestamp) -> Result<Opened, OpenError> {
    let mut connection = sqlite::open_writer(&config.path).await?;
    let readers = sqlite::open_readers(&config.path).await?;
    let mut ledger = Ledger::new(&config);
    let found = recovery::recover(&mut connection, &readers, now).await?;
    recovery::load_waiting(&mut connection, &config, &mut ledger).await?;
    ledger.commit();

    let (changes, waiting) = mpsc::channel(WAITING_MAX);
    let (event_sender, events) = mpsc::unbounded_channel();
    let checkpoint_wanted = Arc::new(Notify::new());
    let closing = CancellationToken::new();
    let checkpointer = checkpoint::run(
        sqlite::open_checkpointer(&config.path).await?,
        Arc::clone(&checkpoint_wanted),
        changes.downgrade(),
        closing.clone(),
    );
    let writer = Writer {
        connection,
        ledger,
        counters: found.counters,
        now,
        waiting,
        overflow: None,
        staged: VecDeque::new(),
        told: None,
        abandoned: Vec::new(),
        events: event_sender,
        checkpoint_wanted,
        groups: 0,
        slots_freed: false,
        closing,
        checkpointer: tokio::spawn(checkpointer),
    };
    let closed = start(writer)?;
    Ok(Opened { store: Store { changes, readers }, events, closed, recovered: found.recovered })
}

/// Gives the writer a thread of its own. Among the async threads its every step would wait behind the
/// requests that it has just answered, and the disk would wait with it.
fn start(writer: Writer) -> Result<oneshot::Receiver<()>, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(sqlx::Error::Io)?;
    let (ended, closed) = oneshot::channel();
    let run = move || {
        runtime.block_on(writer.run());
        if ended.send(()).is_err() {
            tracing::debug!("nobody waited for the writer's end");
        }
    };
    std::thread::Builder::new().name("writer".to_owned()).spawn(run).map_err(sqlx::Error::Io)?;
    Ok(closed)
}

struct Writer {
    connection: SqliteConnection,
    ledger: Ledger,
    counters: Counters,
    /// The latest moment that a change has brought.
    now: Timestamp,
    waiting: mpsc::Receiver<Change>,
    /// Taken from the channel, and too much for the last group.
    overflow: Option<Change>,
    /// Changes with a large value, which is written ahead of them.
    staged: VecDeque<Staged>,
    /// The last group, committed and not yet told of.
    told: Option<Told>,
    /// Payloads that nobody will own.
    abandoned: Vec<i64>,
    events: mpsc::UnboundedSender<Vec<Event>>,
    checkpoint_wanted: Arc<Notify>,
    groups: u32,
    /// A job that was not inserted after all has left its slot to the next.
    slots_freed: bool,
    /// Ends the checkpointer.
    closing: CancellationToken,
    checkpointer: JoinHandle<()>,
}

/// A committed group: its members wait for their answers, the service for what it did.
struct Told {
    members: Vec<Change>,
    events: Vec<Event>,
}

impl Told {
    fn tell(self, events: &mpsc::UnboundedSender<Vec<Event>>) {
        if !self.events.is_empty() {
            // With nobody left to hear, the server is on its way out.
            drop(events.send(self.events));
        }
        self.members.into_iter().for_each(|change| change.answer(None));
    }
}

/// Whether the writer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
    Break,
}

impl Writer {
    async fn run(mut self) {
        // The first group has no members: it claims what waited when the last server ended.
        let mut then = self.commit(Vec::new()).await;
        while then == Then::GoOn {
            let (members, last) = self.next_group().await;
            then = self.commit(members).await;
            if last {
                then = self.finish(then).await;
            }
        }
        self.tell();
        if then == Then::Break {
            // Whoever waits, now or later, hears that the store is closed.
            drop(self.events.send(vec![Event::Broken]));
        } else if let Err(error) = checkpoint::passive(&mut self.connection).await {
            tracing::warn!(%error, "the last checkpoint failed; the next start repeats it");
        }
        // The last connection to close takes the log into the database.
        self.closing.cancel();
        if let Err(error) = self.checkpointer.await {
            tracing::warn!(%error, "the checkpointer ended early");
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }

    /// Writes what is still being written ahead; whoever waits for it was told that it would be.
    async fn finish(&mut self, mut then: Then) -> Then {
        while then == Then::GoOn && !self.staged.is_empty() {
            then = self.commit(Vec::new()).await;
        }
        if then == Then::GoOn { Then::Close } else { then }
    }

    /// Waits for a change, then takes all that are there. True if the store is to be closed after them.
    async fn next_group(&mut self) -> (Vec<Change>, bool) {
        let mut members = Vec::new();
        let mut bytes = 0;
        while members.len() < GROUP_MEMBERS_MAX && bytes < GROUP_BYTES_MAX {
            let next = match self.overflow.take() {
                Some(change) => Some(change),
                // A piece to write ahead, or a slot to fill, is a reason for a group of its own.
                None if members.is_empty() && self.staged.is_empty() && !self.slots_freed => {
                    self.waiting.recv().await
                }
                None => match self.waiting.try_recv() {
                    Ok(change) => Some(change),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => None,
                },
            };
            let Some(change) = next.filter(|change| !matches!(change, Change::Close)) else {
                return (members, true);
            };
            bytes += change.weight().min(CHUNK_BYTES_MAX);
            match (change.weight() > CHUNK_BYTES_MAX).then(|| large_value(&change)).flatten() {
                Some(text) => {
                    self.counters.payload += 1;
                    let payload = self.counters.payload;
                    self.staged.push_back(Staged { change, payload, text, pieces: 0 });
                }
                None => members.push(change),
            }
        }
        (members, false)
    }

    /// Commits `members`, with pieces of what is written ahead, and answers them.
    async fn commit(&mut self, mut members: Vec<Change>) -> Then {
        while self.staged.front().is_some_and(|staged| staged.piece().is_none()) {
            members.extend(self.staged.pop_front().map(Staged::into_change));
        }
        let pieces = self.staged.front().map_or(0, |_| GROUP_PIECES_MAX);
        match self.try_commit(&mut members, pieces).await {
            Ok(events) => {
                self.checkpoint(&mut members).await;
                self.told = Some(Told { members, events });
                // With more to write, the next group is on its way to the disk before this one is told
                // of: the disk need not wait for so many answers.
                if self.waiting.is_empty() && self.overflow.is_none() {
                    self.tell();
                }
                Then::GoOn
            }
            Err(Error::OutcomeUnknown(error)) => {
                tracing::error!(%error, "the database failed; the server stops");
                let unknown = Error::OutcomeUnknown(error);
                members.into_iter().for_each(|change| change.answer(Some(&unknown)));
                Then::Break
            }
            Err(error) => {
                tracing::error!(%error, "a group was rolled back; its members are tried one by one");
                self.give_up_staged(&error);
                self.commit_singly(members).await
            }
        }
    }

    /// The group failed, perhaps for what was to be written ahead: that is given up, and its pieces are
    /// deleted with the next group. Kept, it would be tried again without end.
    fn give_up_staged(&mut self, error: &Error) {
        if let Some(staged) = self.staged.pop_front() {
            self.abandoned.push(staged.payload);
            staged.change.answer(Some(error));
        }
    }

    async fn commit_singly(&mut self, members: Vec<Change>) -> Then {
        for member in members {
            let mut alone = vec![member];
            match self.try_commit(&mut alone, 0).await {
                Ok(events) => {
                    self.told = Some(Told { members: alone, events });
                    self.tell();
                }
                Err(error) => {
                    tracing::error!(%error, "a change was rolled back");
                    alone.into_iter().for_each(|change| change.answer(Some(&error)));
                    if matches!(error, Error::OutcomeUnknown(_)) {
                        return Then::Break;
                    }
                }
            }
        }
        Then::GoOn
    }

    /// Answers the last group and tells the service what it did.
    fn tell(&mut self) {
        if let Some(told) = self.told.take() {
            told.tell(&self.events);
        }
    }

    /// Writes one group and gives what it did, to be told. The group before it is told meanwhile.
    async fn try_commit(
        &mut self,
        members: &mut [Change],
        pieces: usize,
    ) -> Result<Vec<Event>, Error> {
        self.slots_freed = false;
        let mut group = Group::assemble(members, &mut self.ledger, self.counters, self.now);
        group.abandon(&self.abandoned);
        let ahead = ahead(self.staged.front(), pieces);
        if group.is_empty() && ahead.is_empty() {
            self.ledger.commit();
            self.tell();
            return Ok(Vec::new());
        }
        let written = ahead.len();
        let told = self.told.take();
        let committed = {
            let mut commit = pin!(script::commit(&mut self.connection, &group, &ahead));
            // The first poll hands the script to the connection's thread.
            let first = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
            if let Some(told) = told {
                told.tell(&self.events);
            }
            match first {
                Poll::Ready(committed) => committed,
                Poll::Pending => commit.await,
            }
        };
        match committed {
            Ok(changed) => {
                self.check(&mut group, members, &changed).await?;
                for (ordinal, attempt) in changed.claimed {
                    self.ledger.began(ordinal, attempt);
                }
                self.ledger.commit();
                self.counters = group.counters;
                self.now = group.now;
                self.abandoned.clear();
                if let Some(staged) = self.staged.front_mut() {
                    staged.pieces += written;
                }
                Ok(group.events)
            }
            Err(error) => {
                self.ledger.roll_back();
                Err(sqlite::classify(error))
            }
        }
    }

    /// Every guard must have held. An insert may meet an id that exists; anything else would mean that
    /// the ledger and the database no longer agree, and then nothing may go on.
    async fn check(
        &mut self,
        group: &mut Group,
        members: &mut [Change],
        changed: &Changed,
    ) -> Result<(), Error> {
        if changed.claimed.len() != group.claimed.count() || changed.ended != group.ended.count() {
            let text =
                format!("{changed:?} of {} and {}", group.claimed.count(), group.ended.count());
            let error = sqlx::Error::Protocol(format!("ledger and database disagree: {text}"));
            return Err(Error::OutcomeUnknown(Arc::new(error)));
        }
        if changed.inserted == group.inserted.count() {
            return Ok(());
        }
        for member in members {
            let Change::Submit { submission, reply, .. } = member else { continue };
            let Some(job) = reply.decided().cloned() else { continue };
            let is_there = recovery::is_at(&mut self.connection, job.ordinal, job.spec.id).await;
            if is_there.map_err(|error| Error::OutcomeUnknown(Arc::new(error)))? {
                continue;
            }
            self.slots_freed = true;
            reply.set(Err(Error::IdConflict));
            group
                .events
                .retain(|event| !matches!(event, Event::Started(it) if it.ordinal == job.ordinal));
            let slot = Slot { queue: job.spec.queue.clone(), pool: submission.pool };
            if job.state == State::Running {
                self.ledger.set_running(job.ordinal, None);
                self.ledger.release(slot);
            } else {
                self.ledger.withdraw(slot, job.spec.priority, job.ordinal);
            }
        }
        Ok(())
    }

    /// Asks for a checkpoint now and then, and makes one itself if the checkpointer could not keep up.
    async fn checkpoint(&mut self, members: &mut [Change]) {
        for member in members {
            if let Change::Checkpoint { reply } = member {
                let result = checkpoint::passive(&mut self.connection).await;
                reply.set(result.map(drop).map_err(sqlite::classify));
            }
        }
        self.groups += 1;
        if self.groups >= checkpoint::GROUPS_BETWEEN {
            self.groups = 0;
            self.checkpoint_wanted.notify_one();
        }
    }
}

/// The next pieces of a value that is written ahead.
fn ahead(staged: Option<&Staged>, pieces: usize) -> Vec<Ahead<'_>> {
    let Some(staged) = staged else { return Vec::new() };
    let remaining = staged.text.as_bytes().chunks(CHUNK_BYTES_MAX).enumerate().skip(staged.pieces);
    let ahead = remaining.take(pieces).map(|(number, bytes)| Ahead {
        payload: staged.payload,
        number: i64::try_from(number).unwrap_or(i64::MAX),
        bytes,
    });
    ahead.collect()
}

/// Places a waiting job in the ledger.
pub(super) fn place(ledger: &mut Ledger, config: &Config, row: recovery::Waiting) {
    let recovery::Waiting { ordinal, function, queue, priority } = row;
    ledger.readmit(Slot { queue, pool: config.pool_of(&function) }, priority, Ordinal(ordinal));
}
