//! Who follows the jobs of a tag as they are done, those that are still to come as well.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::Job;
use crate::store::Ended;

use super::{Error, Registration, Table, Waiters, lock};

/// Ends that one who follows may be behind. Whoever is further behind hears nothing more, and looks for itself where it was.
const BEHIND_MAX: usize = 4_096;

/// One who follows a tag.
#[derive(Debug)]
pub(super) struct Follower {
    number: u64,
    tag: String,
    heard: mpsc::Sender<Heard>,
}

/// An end that one who follows hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Heard {
    pub(in crate::engine) ended: Ended,
    /// Whether its job has the tag. Else nobody has looked yet.
    pub(in crate::engine) is_known: bool,
}

impl Waiters {
    /// Hears of the end of each job that has this tag from now on.
    pub(in crate::engine) fn follow_tag(&self, tag: &str) -> Result<TagWatch, Error> {
        let place = self.register_only()?;
        let heard = listen(&place, tag);
        Ok(TagWatch { heard, tag: tag.to_owned(), place })
    }

    /// Whether somebody hears of the end of this job by a tag of it.
    pub(in crate::engine) fn is_followed(&self, job: &Job) -> bool {
        let tags = job.spec.tags.as_slice();
        !tags.is_empty() && lock(&self.shared).tags.iter().any(|it| tags.contains(&it.tag))
    }

    /// Tells that a job is done to those who follow a tag of it.
    pub(super) fn tell_tags(&self, job: &Arc<Job>) {
        let tags = job.spec.tags.as_slice();
        let Some(ended) = Ended::of(job).filter(|_| !tags.is_empty()) else { return };
        let heard = Heard { ended, is_known: true };
        lock(&self.shared).tell(heard, |follower| tags.contains(&follower.tag));
    }

    /// The same of a job whose tags nobody has looked at.
    pub(super) fn tell_all_tags(&self, ended: Ended) {
        lock(&self.shared).tell(Heard { ended, is_known: false }, |_| true);
    }
}

fn listen(place: &Registration, tag: &str) -> mpsc::Receiver<Heard> {
    let (sender, heard) = mpsc::channel(BEHIND_MAX);
    let follower = Follower { number: place.number, tag: tag.to_owned(), heard: sender };
    let mut table = lock(&place.table);
    table.leave_tag(place.number);
    table.tags.push(follower);
    heard
}

impl Table {
    fn tell(&mut self, heard: Heard, concerns: impl Fn(&Follower) -> bool) {
        self.tags.retain(|follower| {
            // One that has no room for it is told nothing more: what it hears has no gap before its end.
            !concerns(follower) || follower.heard.try_send(heard).is_ok()
        });
    }

    fn leave_tag(&mut self, number: u64) {
        self.tags.retain(|follower| follower.number != number);
    }
}

/// One request that follows a tag.
#[derive(Debug)]
pub(in crate::engine) struct TagWatch {
    heard: mpsc::Receiver<Heard>,
    tag: String,
    place: Registration,
}

impl TagWatch {
    pub(in crate::engine) fn tag(&self) -> &str {
        &self.tag
    }

    /// The next end; none if it was too far behind, and has missed what came then. From now on it hears again.
    pub(in crate::engine) async fn next(&mut self) -> Option<Heard> {
        let heard = self.heard.recv().await;
        if heard.is_none() {
            self.heard = listen(&self.place, &self.tag);
        }
        heard
    }

    /// The next one, if there is one already.
    pub(in crate::engine) fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

impl Drop for TagWatch {
    fn drop(&mut self) {
        lock(&self.place.table).leave_tag(self.place.number);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{JobId, Ordinal, State};

    fn ended(seq: i64) -> Ended {
        let id = JobId(Uuid::from_u128(seq.unsigned_abs().into()));
        Ended { id, ordinal: Ordinal(seq), state: State::Succeeded, seq }
    }

    #[tokio::test]
    async fn whoever_is_too_far_behind_hears_no_gap_but_an_end_and_then_hears_again() {
        let waiters = Waiters::new(1, 0);
        let mut watch = waiters.follow_tag("a").expect("a place");
        assert!(waiters.follow_tag("b").is_err(), "it is a waiter like any other");
        let most = i64::try_from(BEHIND_MAX).expect("a few");
        (1..=most + 10).for_each(|seq| waiters.tell_all_tags(ended(seq)));
        for seq in 1..=most {
            assert_eq!(watch.next().await.expect("it is heard").ended.seq, seq);
        }
        assert_eq!(watch.next().await, None);
        waiters.tell_all_tags(ended(most + 20));
        let next = Heard { ended: ended(most + 20), is_known: false };
        assert_eq!(watch.next().await, Some(next));
        drop(watch);
        let table = lock(&waiters.shared);
        assert_eq!((table.tags.len(), table.requests), (0, 0));
    }
}
