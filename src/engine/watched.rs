//! A file of the data directory that a command may change while the server runs. A thread looks at it, so that whoever asks
//! what it says looks into memory and waits for no disk.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::domain::Timestamp;

use super::Clock;

/// A running server sees a change of a file within this. A command that changes one waits as long before it
/// ends, so that its user need not.
pub const SEEN_WITHIN: Duration = Duration::from_millis(50);
/// Between two looks while somebody asks or follows. The rest is for a thread that is not woken in time.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// While nobody does: whoever is the first to ask again wakes it.
const LOOK_IDLY_EVERY: Duration = Duration::from_secs(1);
/// A disk that says nothing for so long cannot be read.
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

/// What tells one content of the file from another: every change makes a new file.
type Stamp = Option<(u64, i64, i64, u64)>;

/// How a file is understood.
#[derive(Debug)]
pub(super) struct Reading<T> {
    /// What it says. None: there is no file. Each kind of file says for itself what that means.
    pub(super) parse: fn(Option<&str>) -> io::Result<T>,
    /// What it comes to at this moment of the wall clock, if that is something else.
    pub(super) at: fn(&T, Timestamp) -> Option<T>,
    /// Is told what it says now, and what it said before, and puts into the log what an operator should know.
    pub(super) note: fn(&T, Option<&T>),
}

/// What was read, or why it cannot be read.
pub(super) type Content<T> = Result<Arc<T>, Unreadable>;

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(Arc<str>);

impl From<Unreadable> for io::Error {
    fn from(Unreadable(why): Unreadable) -> Self {
        Self::new(io::ErrorKind::InvalidData, &*why)
    }
}

/// What the file says. A clone shares it.
pub(super) struct Watched<T>(Arc<Inner<T>>);

struct Inner<T> {
    file: PathBuf,
    reading: Reading<T>,
    seen: watch::Sender<Seen<T>>,
    /// Wakes those that wait for a look.
    looked: Notify,
    /// Whether anybody has asked since the last look.
    asked: AtomicBool,
    watcher: OnceLock<Arc<Sleeper>>,
    /// Of what was read last. Only those that look take it, and they wait for the disk.
    stamp: Mutex<Option<Stamp>>,
}

/// What was seen, and when.
#[derive(Debug)]
pub(super) struct Seen<T> {
    looked_at: Option<Instant>,
    pub(super) content: Content<T>,
    /// What it said when it could be read.
    last: Option<Arc<T>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Watched").field(&self.0.file).finish()
    }
}

impl<T> Watched<T> {
    /// A file that nobody has looked at yet.
    pub(super) fn new(file: PathBuf, reading: Reading<T>) -> Self {
        let content = Err(Unreadable("nobody has looked at it yet".into()));
        let seen = watch::Sender::new(Seen { looked_at: None, content, last: None });
        let (looked, stamp) = (Notify::new(), Mutex::new(None));
        let (asked, watcher) = (AtomicBool::new(false), OnceLock::new());
        Self(Arc::new(Inner { file, reading, seen, looked, asked, watcher, stamp }))
    }

    pub(super) fn file(&self) -> &Path {
        &self.0.file
    }

    /// What it said at a look that began at most [`SEEN_WITHIN`] ago, or after this was asked.
    pub(super) async fn current(&self) -> Content<T> {
        match self.if_fresh(Instant::now(), Clone::clone) {
            Some(content) => content,
            None => Box::pin(self.next()).await,
        }
    }

    /// The same, at once and without a copy; none if there was no such look.
    pub(super) fn if_fresh<R>(
        &self,
        asked: Instant,
        of: impl FnOnce(&Content<T>) -> R,
    ) -> Option<R> {
        self.0.is_asked();
        let seen = self.0.seen.borrow();
        let is_fresh = seen.looked_at.is_some_and(|at| at + SEEN_WITHIN > asked);
        is_fresh.then(|| of(&seen.content))
    }

    /// What the next look shows.
    pub(super) async fn next(&self) -> Content<T> {
        let asked = Instant::now();
        let looked = async {
            loop {
                let looked = self.0.looked.notified();
                if let Some(content) = self.if_fresh(asked, Clone::clone) {
                    return content;
                }
                self.0.watcher.get().iter().for_each(|watcher| watcher.wake());
                looked.await;
            }
        };
        let looked = tokio::time::timeout(LOOKED_WITHIN, looked).await;
        looked.unwrap_or_else(|_elapsed| Err(Unreadable("the disk does not answer".into())))
    }

    /// What it said when it could last be read.
    pub(super) fn last(&self) -> Option<Arc<T>> {
        self.0.seen.borrow().last.clone()
    }

    /// Follows what it says.
    pub(super) fn follow(&self) -> watch::Receiver<Seen<T>> {
        self.0.seen.subscribe()
    }

    /// What it says now, as a command reads it.
    pub(super) fn load(&self) -> io::Result<T> {
        self.0.load()
    }

    /// Alone until what it gives is dropped: two commands at once must not lose each other's change.
    pub(super) fn alone(&self) -> io::Result<File> {
        let lock = self.0.file.with_extension("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(lock)
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// What a [`Watcher`] does for it.
    pub(super) fn looks(&self) -> Look {
        Look(Arc::clone(&self.0) as Arc<dyn LookedAt>)
    }
}

impl<T: Send + Sync> LookedAt for Inner<T> {
    fn look(&self, now: Timestamp) {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let looked_at = Instant::now();
        let news = self.news(&mut stamp, now);
        self.tell(news.as_ref());
        self.seen.send_if_modified(|seen| {
            seen.looked_at = Some(looked_at);
            let Some(news) = news else { return false };
            seen.last = news.as_ref().ok().cloned().or(seen.last.take());
            seen.content = news;
            true
        });
        self.looked.notify_waiters();
    }

    fn is_wanted(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst) || self.seen.receiver_count() > 0
    }

    fn has(&self, watcher: &Arc<Sleeper>) {
        // There is one in a server, and one that comes later changes nothing.
        self.watcher.get_or_init(|| Arc::clone(watcher));
    }
}

impl<T> Inner<T> {
    /// Somebody asks. A watcher that looks often is left alone, and one that does not is woken: what is begun now is to
    /// hear of a change in time.
    fn is_asked(&self) {
        if self.asked.load(Ordering::Relaxed) {
            return;
        }
        self.asked.store(true, Ordering::SeqCst);
        if let Some(watcher) = self.watcher.get()
            && watcher.idles.load(Ordering::SeqCst)
        {
            watcher.wake();
        }
    }

    /// What it says, if that is something else than before.
    fn news(&self, stamp: &mut Option<Stamp>, now: Timestamp) -> Option<Content<T>> {
        let before = self.seen.borrow().content.clone();
        match self.changed(stamp, before.as_ref().ok(), now) {
            Ok(changed) => changed.map(|content| Ok(Arc::new(content))),
            Err(error) => {
                let why = Unreadable(error.to_string().into());
                (before.err().as_ref() != Some(&why)).then_some(Err(why))
            }
        }
    }

    fn changed(
        &self,
        stamp: &mut Option<Stamp>,
        before: Option<&Arc<T>>,
        now: Timestamp,
    ) -> io::Result<Option<T>> {
        let known = stamp.take();
        let is_now = self.stamp()?;
        if known == Some(is_now) {
            *stamp = known;
            return Ok(before.and_then(|content| (self.reading.at)(content, now)));
        }
        let text = self.text()?;
        // What cannot be understood is not read again before it is another.
        *stamp = Some(is_now);
        let content = (self.reading.parse)(text.as_deref())?;
        Ok(Some((self.reading.at)(&content, now).unwrap_or(content)))
    }

    /// Says in the log what has changed.
    fn tell(&self, news: Option<&Content<T>>) {
        let seen = self.seen.borrow();
        let file = self.file.display();
        match news {
            None => {}
            Some(Err(Unreadable(why))) => tracing::error!(%file, %why, "a file cannot be read"),
            Some(Ok(content)) => {
                if seen.looked_at.is_some() && seen.content.is_err() {
                    tracing::info!(%file, "the file can be read again");
                }
                (self.reading.note)(content, seen.last.as_deref());
            }
        }
    }

    fn load(&self) -> io::Result<T> {
        (self.reading.parse)(self.text()?.as_deref())
    }

    fn text(&self) -> io::Result<Option<String>> {
        if_there(fs::read_to_string(&self.file))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let of = |file: fs::Metadata| (file.ino(), file.mtime(), file.mtime_nsec(), file.size());
        Ok(if_there(fs::metadata(&self.file))?.map(of))
    }
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a [`Watcher`] looks at.
trait LookedAt: Send + Sync {
    /// Looks at the file, and tells those that follow it if it says something else.
    fn look(&self, now: Timestamp);
    /// Whether anybody has asked since this was asked, or follows.
    fn is_wanted(&self) -> bool;
    /// Who looks.
    fn has(&self, watcher: &Arc<Sleeper>);
}

/// A file that is to be looked at.
pub struct Look(Arc<dyn LookedAt>);

impl Look {
    /// Looks at it, at this moment of the wall clock.
    pub fn at(&self, now: Timestamp) {
        self.0.look(now);
    }
}

/// The thread that looks, as those know it that wake it.
#[derive(Debug, Default)]
pub(super) struct Sleeper {
    /// Whether it sleeps for long.
    idles: AtomicBool,
    ends: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Sleeper {
    fn wake(&self) {
        self.thread.get().into_iter().for_each(Thread::unpark);
    }

    /// Sleeps until the next look.
    fn sleep(&self, looks: &[Look]) {
        let is_wanted = || looks.iter().filter(|look| look.0.is_wanted()).count() > 0;
        let mut wanted = is_wanted();
        if !wanted {
            self.idles.store(true, Ordering::SeqCst);
            // Whoever asked before that has woken nobody.
            wanted = is_wanted();
        }
        thread::park_timeout(if wanted { LOOK_EVERY } else { LOOK_IDLY_EVERY });
        self.idles.store(false, Ordering::SeqCst);
    }
}

/// Looks for as long as it is there: often while somebody asks, now and then while nobody does.
#[derive(Debug)]
pub struct Watcher(Arc<Sleeper>);

impl Watcher {
    /// Looks at once, and then in a thread of its own.
    pub fn start(clock: Clock, looks: Vec<Look>) -> io::Result<Self> {
        let sleeper = Arc::new(Sleeper::default());
        for look in &looks {
            look.0.has(&sleeper);
            look.at(clock.wall_now());
        }
        let own = Arc::clone(&sleeper);
        let watch = move || {
            while !own.ends.load(Ordering::Relaxed) {
                own.sleep(&looks);
                looks.iter().for_each(|look| look.at(clock.wall_now()));
            }
        };
        let thread = thread::Builder::new().name("watcher".to_owned()).spawn(watch)?;
        sleeper.thread.get_or_init(|| thread.thread().clone());
        Ok(Self(sleeper))
    }
}

impl Drop for Watcher {
    /// It is not waited for: the disk may not answer.
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
        self.0.wake();
    }
}
