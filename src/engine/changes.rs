//! All changes, for whoever follows along: from where they were, in the order of all, without a gap.
//!
//! One task reads each change once and makes of it what all are sent; those who are behind read the log
//! themselves until they have caught up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, Semaphore, broadcast};
use tokio::time::Instant;

use crate::domain::{Job, State};
use crate::store::{Changes, Failure, Filter, JobChange, Left};

use super::{Engine, Error, Held, Share, waiters};

/// Changes that are read at once.
const READ_AT_ONCE: usize = 256;
/// What stands on one page, unless one change alone is more.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Pages that a reader may be behind the others: 32 MiB. They are shared: all readers together hold no more.
const PAGES_AHEAD_MAX: usize = 128;
/// Between two looks at the log. What changed meanwhile is read at once, and a job that changed twice is told once.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// What all who follow are sent in a second, at most; the others have the rest of the machine. Whoever falls behind for it
/// is cut like any other.
const BYTES_PER_SECOND: u64 = 256 * 1024 * 1024;
/// Those who read the log by themselves do so one after the other.
const CATCHING_UP_AT_ONCE: usize = 1;
/// Between two tries while the log cannot be read.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// Those who follow.
#[derive(Debug)]
pub(super) struct Followers {
    pages: broadcast::Sender<Arc<Shared>>,
    count: AtomicUsize,
    committed: Notify,
    /// Whether a task reads for all.
    is_read: Mutex<bool>,
    /// Turns of those who read the log by themselves.
    pub(super) catching_up: Semaphore,
    pace: Pace,
}

/// When the next bytes may be sent.
#[derive(Debug)]
struct Pace(std::sync::Mutex<Instant>);

impl Pace {
    /// The turn of so many bytes: everyone's come one after the other.
    fn turn(&self, bytes: usize) -> Instant {
        let nanoseconds = bytes as u64 * 1_000_000_000 / BYTES_PER_SECOND;
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + Duration::from_nanos(nanoseconds);
        turn
    }
}

impl Default for Followers {
    fn default() -> Self {
        let (pages, _) = broadcast::channel(PAGES_AHEAD_MAX);
        Self {
            pages,
            count: AtomicUsize::new(0),
            committed: Notify::new(),
            is_read: Mutex::new(false),
            catching_up: Semaphore::new(CATCHING_UP_AT_ONCE),
            pace: Pace(std::sync::Mutex::new(Instant::now())),
        }
    }
}

impl Followers {
    /// Something was committed.
    pub(super) fn committed(&self) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.committed.notify_one();
        }
    }
}

/// Some changes, as all are sent them.
#[derive(Debug)]
struct Shared {
    events: Vec<Event>,
    /// All of them together.
    text: Bytes,
    to: i64,
}

#[derive(Debug)]
struct Event {
    change: JobChange,
    /// Its part of the page's text.
    text: Bytes,
}

/// What one who follows is given next.
#[derive(Debug)]
pub enum Followed {
    /// Changes, as they are to be sent, and the place of the last.
    Changes(Bytes),
    /// What lies between where they were and `floor` is not known any more; from `to` on they miss nothing.
    Reset {
        /// Up to here nothing is known.
        floor: i64,
        /// From here it goes on.
        to: i64,
    },
    /// They are too slow; what comes next is known by where they were.
    TooSlow,
    /// The server stops.
    Stopping,
}

/// One who follows all changes that pass a filter.
#[derive(Debug)]
pub struct Following {
    engine: Engine,
    share: Share,
    filter: Filter,
    pages: broadcast::Receiver<Arc<Shared>>,
    /// Told up to here.
    seq: i64,
    stage: Stage,
    /// What is to be given when its turn comes, with the room that is held for it.
    held: Option<(Instant, Bytes)>,
    _place: Subscription,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What lies between is not known any more.
    Reset {
        floor: i64,
        to: i64,
    },
    /// Reads the log by itself.
    Behind,
    /// Has seen the end of the log, and hears of everything since.
    CatchingUp,
    /// Hears of everything.
    Live,
    Over,
}

/// A follower counts as long as this is there.
#[derive(Debug)]
struct Subscription {
    engine: Engine,
    _waiter: waiters::Registration,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.engine.shared.followers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Follows the changes behind `after`, of the jobs that pass `filter`; without a place, from now on.
    pub async fn follow(
        &self,
        filter: Filter,
        after: Option<i64>,
        share: Share,
    ) -> Result<Following, Error> {
        let (waiter, followers) = (self.shared.waiters.register_only()?, &self.shared.followers);
        let pages = followers.pages.subscribe();
        followers.count.fetch_add(1, Ordering::Relaxed);
        let place = Subscription { engine: self.clone(), _waiter: waiter };
        let mut is_read = followers.is_read.lock().await;
        let known = self.shared.store.changes(0, 0).await?.known;
        if !std::mem::replace(&mut *is_read, true) {
            // It begins where the first looks. Who comes later looks later, and finds it behind or there.
            self.shared.tasks.spawn(read_for_all(self.clone(), known.head));
        }
        drop(is_read);
        let (seq, stage) = match after {
            None => (known.head, Stage::CatchingUp),
            // A place that was never given comes from another database.
            Some(after) if after < known.floor || after > known.head => {
                (known.head, Stage::Reset { floor: known.floor, to: known.head })
            }
            Some(after) => (after, Stage::Behind),
        };
        let (engine, held) = (self.clone(), None);
        Ok(Following { engine, share, filter, pages, seq, stage, held, _place: place })
    }
}

/// Reads every change once, as long as anybody follows.
async fn read_for_all(engine: Engine, from: i64) {
    let followers = &engine.shared.followers;
    let mut seq = from;
    loop {
        if followers.count.load(Ordering::Relaxed) == 0 {
            let mut is_read = followers.is_read.lock().await;
            // Whoever has come since waits for this very lock, and begins anew.
            if followers.count.load(Ordering::Relaxed) == 0 {
                *is_read = false;
                return;
            }
        }
        let page = match engine.shared.store.changes(seq, READ_AT_ONCE).await {
            Ok(page) => page,
            Err(Failure::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "the log of changes cannot be read; trying again");
                tokio::time::sleep(READ_AGAIN).await;
                continue;
            }
        };
        if page.to == seq {
            tokio::select! {
                () = followers.committed.notified() => tokio::time::sleep(LOOK_AGAIN).await,
                // Whoever came last may have gone.
                () = tokio::time::sleep(READ_AGAIN) => {}
                () = engine.shared.shutdown.waits.cancelled() => return,
            }
            continue;
        }
        seq = page.to;
        for page in engine.shared_pages(page) {
            // Nobody may be left.
            drop(followers.pages.send(Arc::new(page)));
        }
    }
}

impl Shared {
    /// A page of changes, each with the place in `text` where it ends.
    fn of(changes: Vec<(JobChange, usize)>, text: String) -> Self {
        let text = Bytes::from(text);
        let to = changes.last().map_or(0, |(change, _)| change.seq);
        let mut begin = 0;
        let events = changes.into_iter().map(|(change, end)| {
            let part = text.slice(begin..end);
            begin = end;
            Event { change, text: part }
        });
        Self { events: events.collect(), text: text.clone(), to }
    }
}

impl Engine {
    /// Changes as pages, none of which is too large. The last reaches as far as the changes do.
    fn shared_pages(&self, read: Changes) -> Vec<Shared> {
        let render = self.shared.config.render.change;
        let (mut pages, mut on_page, mut text) = (Vec::new(), Vec::new(), String::new());
        for change in read.changes {
            let printed = render(&change);
            if !on_page.is_empty() && text.len() + printed.len() > PAGE_BYTES_MAX {
                pages.push(Shared::of(std::mem::take(&mut on_page), std::mem::take(&mut text)));
            }
            text.push_str(&printed);
            on_page.push((change, text.len()));
        }
        pages.push(Shared { to: read.to, ..Shared::of(on_page, text) });
        pages
    }
}

impl Following {
    /// What comes next; none after the end.
    pub async fn next(&mut self) -> Result<Option<Followed>, Error> {
        loop {
            if let Some((turn, _)) = &self.held {
                if *turn > Instant::now() {
                    tokio::time::sleep_until(*turn).await;
                }
                return Ok(self.held.take().map(|(_, text)| Followed::Changes(text)));
            }
            match self.stage {
                Stage::Over => return Ok(None),
                Stage::Reset { floor, to } => {
                    self.stage = Stage::CatchingUp;
                    return Ok(Some(Followed::Reset { floor, to }));
                }
                Stage::Behind | Stage::CatchingUp => {
                    if let Some((text, held)) = self.read().await? {
                        self.hold(text, held);
                    }
                }
                Stage::Live => {
                    let before = self.seq;
                    match self.hear().await {
                        Followed::Changes(text) if text.is_empty() => {}
                        Followed::Changes(text) => self.hold_if_room(text, before),
                        end => {
                            self.stage = Stage::Over;
                            return Ok(Some(end));
                        }
                    }
                }
            }
        }
    }

    /// The place of the last change that was given, or passed by.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    fn hold(&mut self, text: Bytes, held: Held) {
        let turn = self.engine.shared.followers.pace.turn(text.len());
        self.held = Some((turn, held.counted(text)));
    }

    /// Keeps nothing for which there is no room: it is read again when there is some.
    fn hold_if_room(&mut self, text: Bytes, before: i64) {
        match self.share.try_take(text.len()) {
            Some(held) => self.hold(text, held),
            None => (self.seq, self.stage) = (before, Stage::Behind),
        }
    }

    /// Reads a page of the log. At its end it begins to listen, and reads once more what came meanwhile.
    async fn read(&mut self) -> Result<Option<(Bytes, Held)>, Error> {
        let engine = self.engine.clone();
        let held = self.share.take(PAGE_BYTES_MAX).await;
        let _turn = engine.shared.followers.catching_up.acquire().await;
        let page = self.engine.shared.store.changes(self.seq, READ_AT_ONCE).await?;
        if page.to == self.seq {
            if self.stage == Stage::Behind {
                self.pages = self.engine.shared.followers.pages.subscribe();
                self.stage = Stage::CatchingUp;
            } else {
                self.stage = Stage::Live;
            }
            return Ok(None);
        }
        // What does not stand on the first page is read again: a reader holds one page and no more.
        let page = self.engine.shared_pages(page).into_iter().next();
        let text = page.map(|page| self.wanted(&page));
        Ok(text.filter(|text| !text.is_empty()).map(|text| (text, held)))
    }

    async fn hear(&mut self) -> Followed {
        let page = tokio::select! {
            biased;
            page = self.pages.recv() => page,
            () = self.engine.shared.shutdown.waits.cancelled() => return Followed::Stopping,
        };
        match page {
            Ok(page) => Followed::Changes(self.wanted(&page)),
            Err(broadcast::error::RecvError::Lagged(_)) => Followed::TooSlow,
            Err(broadcast::error::RecvError::Closed) => Followed::Stopping,
        }
    }

    /// What of a page is still to be told and passes the filter.
    fn wanted(&mut self, page: &Shared) -> Bytes {
        let told = self.seq;
        self.seq = told.max(page.to);
        let is_new = page.events.first().is_none_or(|first| first.change.seq > told);
        if is_new && self.filter == Filter::default() {
            return page.text.clone();
        }
        let wanted = page
            .events
            .iter()
            .filter(|event| event.change.seq > told && is_meant(&event.change.left, &self.filter));
        let mut text = Vec::new();
        wanted.for_each(|event| text.extend_from_slice(&event.text));
        text.into()
    }
}

/// Whether whoever follows with this filter is told of it. Of a job that is gone nobody knows what it was.
fn is_meant(left: &Left, filter: &Filter) -> bool {
    match left {
        Left::Job(job) => passes(job, filter),
        Left::Gone(_) => *filter == Filter::default(),
    }
}

fn passes(job: &Job, filter: &Filter) -> bool {
    let Filter { state, function, queue, tag, created_after, created_before, batch } = filter;
    let spec = &job.spec;
    let same = |state: &State| job.state == *state;
    state.as_ref().is_none_or(same)
        && function.as_ref().is_none_or(|it| spec.function == *it)
        && queue.as_ref().is_none_or(|it| spec.queue == *it)
        && tag.as_ref().is_none_or(|it| spec.tags.as_slice().contains(it))
        && created_after.is_none_or(|at| spec.shown(spec.created_at) > at)
        && created_before.is_none_or(|at| spec.shown(spec.created_at) < at)
        && batch.is_none_or(|it| spec.batch.is_some_and(|of| of.batch == it))
}
