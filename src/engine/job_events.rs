//! One job, followed: its states, how far it is, and the lines of its log.

use std::mem;
use std::time::Duration;

use crate::domain::log::LOG_BYTES_MAX;
use crate::domain::{Job, JobId, LogLine, LogPlace, Progress, State};

use super::waiters::Waiter;
use super::{Engine, Error, Held, Share};

/// Between two looks at what a running job tells of itself: whatever it told meanwhile is given at once.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a state takes beside the arguments, about.
const STATE_BYTES: usize = 32 * 1024;

/// How far somebody has followed a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobPlace {
    /// The place of the last change that was seen, in the order of all changes.
    pub seq: i64,
    /// The last line of its log.
    pub log: LogPlace,
}

/// What happens to a job.
#[derive(Debug)]
pub enum JobEvent {
    /// It stands so now. In a box, because it is large.
    State(Box<Job>),
    /// It says how far it is.
    Progress(Progress),
    /// It has written a line; before that, so many were cut.
    Log {
        /// The line.
        line: LogLine,
        /// Lines that are missing before it.
        cut: i64,
    },
    /// It is done, and all was told.
    Done,
    /// It is there no more.
    Gone,
    /// The server stops.
    Stopping,
}

/// One who follows a job.
#[derive(Debug)]
pub struct JobEvents {
    engine: Engine,
    share: Share,
    id: JobId,
    place: JobPlace,
    progress: Option<Progress>,
    ready: Vec<(JobPlace, JobEvent)>,
    /// Room for what is ready.
    held: Held,
    is_over: bool,
    change: Waiter<()>,
    /// The job as it was last looked at, while nothing but what it tells of itself can be new.
    known: Option<Job>,
}

impl Engine {
    /// Follows a job, from where somebody has followed it before; `share` has the room for what is told.
    pub async fn follow_job(
        &self,
        id: JobId,
        after: JobPlace,
        share: Share,
    ) -> Result<JobEvents, Error> {
        let change = self.shared.waiters.subscribe_to_change(id)?;
        self.get(id).await?;
        Ok(JobEvents {
            engine: self.clone(),
            share,
            id,
            place: after,
            progress: None,
            ready: Vec::new(),
            held: Held::default(),
            is_over: false,
            change,
            known: None,
        })
    }
}

impl JobEvents {
    /// The next events, each with the place behind it, and the room for them; none after the end. Nothing is lost if
    /// nobody waits to the end.
    pub async fn next(&mut self) -> Result<Option<(Vec<(JobPlace, JobEvent)>, Held)>, Error> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Some((mem::take(&mut self.ready), mem::take(&mut self.held))));
            }
            if self.is_over {
                return Ok(None);
            }
            // A whole log may be new.
            self.held = self.share.take(LOG_BYTES_MAX).await;
            match self.known.take() {
                Some(job) if self.tell_fresh(&job) => self.known = Some(job),
                _ => {
                    self.change.renew();
                    self.known = self.look().await?;
                }
            }
            self.held.shrink_to(self.ready_bytes());
            if self.ready.is_empty() && !self.is_over && !self.wait().await {
                self.known = None;
            }
        }
    }

    /// What is ready takes so many bytes, about.
    fn ready_bytes(&self) -> usize {
        let bytes = self.ready.iter().map(|(_, event)| match event {
            JobEvent::State(job) => job.spec.arguments_bytes() + STATE_BYTES,
            JobEvent::Log { line, .. } => line.bytes(),
            JobEvent::Progress(_) | JobEvent::Done | JobEvent::Gone | JobEvent::Stopping => 0,
        });
        bytes.sum()
    }

    /// Tells what a running job has told of itself since the last look; false if the memory of its attempt does not
    /// hold all of that.
    fn tell_fresh(&mut self, job: &Job) -> bool {
        let Some(call) = self.engine.shared.running.call(job.ordinal) else { return false };
        let lines = call.log_after(self.place.log);
        let follows = match lines.first() {
            Some(first) => first.cut_since(self.place.log) == 0,
            None => call.last_line().number == 0 || call.last_line() <= self.place.log,
        };
        if self.engine.shared.shutdown.waits.is_cancelled() || !follows {
            return false;
        }
        self.tell_lines(lines);
        self.tell_progress(job);
        true
    }

    /// Finds out what is new; the job as it stands, if it is there.
    async fn look(&mut self) -> Result<Option<Job>, Error> {
        let Some((seq, job)) = self.engine.shared.store.changed_job(self.id).await? else {
            self.end(JobEvent::Gone);
            return Ok(None);
        };
        let is_new = seq > self.place.seq;
        // The end of a job comes after all that it wrote.
        if is_new && !job.is_done() {
            self.tell_state(seq, &job);
        }
        self.tell_log(&job).await?;
        self.tell_progress(&job);
        if job.is_done() {
            if is_new {
                self.tell_state(seq, &job);
            }
            self.end(JobEvent::Done);
        } else if self.engine.shared.shutdown.waits.is_cancelled() {
            self.end(JobEvent::Stopping);
        }
        Ok(Some(job))
    }

    fn tell_state(&mut self, seq: i64, job: &Job) {
        self.place.seq = seq;
        let mut job = job.clone();
        job.progress = self.engine.shared.running.progress(job.ordinal);
        self.ready.push((self.place, JobEvent::State(Box::new(job))));
    }

    async fn tell_log(&mut self, job: &Job) -> Result<(), Error> {
        let lines = self.engine.log_lines(job.ordinal, self.place.log).await?;
        self.tell_lines(lines);
        Ok(())
    }

    fn tell_lines(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            let cut = line.cut_since(self.place.log);
            self.place.log = line.place;
            self.ready.push((self.place, JobEvent::Log { line, cut }));
        }
    }

    fn tell_progress(&mut self, job: &Job) {
        if job.state != State::Running {
            self.progress = None;
            return;
        }
        let progress = self.engine.shared.running.progress(job.ordinal);
        if progress.is_some() && progress != self.progress {
            self.progress.clone_from(&progress);
            let event = progress.map(|progress| (self.place, JobEvent::Progress(progress)));
            self.ready.extend(event);
        }
    }

    fn end(&mut self, why: JobEvent) {
        self.is_over = true;
        self.ready.push((self.place, why));
    }

    /// Waits for a change of the job, or for what it tells of itself; true if it was the latter.
    async fn wait(&mut self) -> bool {
        let Self { engine, change, known, place, progress, .. } = self;
        let call = known.as_ref().and_then(|job| engine.shared.running.call(job.ordinal));
        let runs = known.as_ref().is_some_and(|job| job.state == State::Running);
        let told = async {
            let Some(call) = call else {
                // Its code has not begun, though its state says that it runs: look again soon.
                if runs {
                    return tokio::time::sleep(LOOK_AGAIN).await;
                }
                return std::future::pending().await;
            };
            let mut changes = call.changes();
            // What it told between the look and this is found at the next look.
            let is_fresh =
                call.last_progress() != *progress || !call.log_after(place.log).is_empty();
            if !is_fresh {
                changes.changed().await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        tokio::select! {
            biased;
            () = change.changed() => false,
            () = engine.shared.shutdown.waits.cancelled() => false,
            () = told => true,
        }
    }
}
