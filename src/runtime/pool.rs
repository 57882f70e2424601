//! The fixed pool of OS threads: what computes or blocks runs here, never on the async threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

/// How far pool threads stand back, from 0 (not at all) to 19.
const NICENESS: i32 = 10;

/// A fixed number of threads that take work in the order it comes.
///
/// The slots that jobs are claimed by are as many as the threads, so nothing waits here in practice;
/// the queue only bridges the moment between a job's end and its thread's return.
#[derive(Debug)]
pub struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    closed: bool,
}

impl ThreadPool {
    /// Starts `threads` threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            let name = format!("pool-{number}");
            thread::Builder::new().name(name).spawn(move || {
                give_way();
                shared.serve();
            })?;
        }
        Ok(Self { shared })
    }

    /// Runs `work` on the next free thread. It must not unwind.
    pub fn run(&self, work: Work) {
        self.shared.lock().work.push_back(work);
        self.shared.changed.notify_one();
    }
}

/// Lets the calling thread give way to those that answer requests: what computes for long must not
/// make a poll wait for its time slice. On Linux a priority is a thread's own.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a pool thread keeps its priority");
    }
}

impl Drop for ThreadPool {
    /// Lets idle threads end. A thread that still runs foreign code is not waited for: it cannot be
    /// stopped, and the process may have to end.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        while let Some(work) = self.next() {
            work();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No code of others runs under this lock, so a poisoned one still holds a whole queue.
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
