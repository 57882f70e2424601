//! Submissions, and those that come again (G8).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Identity, Job, JobId};
use crate::store::{self, Failure, Many, Refusal, Submission};

use super::{Engine, Error, Held, NewJob};

/// What came of a submission.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub job: Arc<Job>,
    /// Whether it was submitted before, by the same request.
    pub is_replay: bool,
}

/// What a request asks for.
enum Asked {
    New(Submission),
    /// What would be refused now was taken before.
    Before(JobId),
}

impl Engine {
    /// Submits a job and gives it back as it was committed: pending, or already running (E1). A request
    /// that has an identity makes one job however often it comes; then the job is given as it stands.
    pub async fn submit(&self, new: NewJob) -> Result<Submitted, Error> {
        let submission = match self.asked(new).await? {
            Asked::New(submission) => submission,
            Asked::Before(id) => return self.replay(id, Duration::ZERO).await,
        };
        match self.accepted(submission).await {
            Ok(job) => Ok(Submitted { job, is_replay: false }),
            Err(store::Error::Refused(Refusal::Repeated(id))) => {
                self.replay(JobId(id), Duration::ZERO).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Submits a job and waits for its end, at most `wait`. It is subscribed to before it exists, so
    /// nothing is missed and nothing is read again. What is held for its body is let go when the job is on the disk.
    pub async fn submit_and_wait(
        &self,
        new: NewJob,
        wait: Duration,
        held: Held,
    ) -> Result<Submitted, Error> {
        let submission = match self.asked(new).await? {
            Asked::New(submission) => submission,
            Asked::Before(id) => return self.replay(id, wait).await,
        };
        let id = submission.spec.id;
        let waiter = self.shared.waiters.subscribe(id)?;
        let deadline = Instant::now() + wait;
        // An id that the client chose may be that of another request's job.
        let may_be_another = submission.identity.is_some();
        let end = waiter.end();
        let failed = Box::new(move |_as_answered| end());
        let mut answer = self.shared.store.submit(submission, Some(failed)).await?;
        // The end of the job, or of its submission, is heard of at once; that it is accepted wakes nobody, unless there
        // is something to let go.
        let accepted = if held.bytes() > 0 { Some(answer.get().await) } else { None };
        drop(held);
        let done = self.until(waiter, deadline).await;
        if let Some(job) = done.as_ref().filter(|_| !may_be_another) {
            return Ok(Submitted { job: Arc::clone(job), is_replay: false });
        }
        let accepted = match accepted {
            Some(accepted) => accepted,
            None => answer.get().await,
        };
        match accepted {
            Ok(submitted) => {
                let job = match done {
                    Some(job) => job,
                    None => self.get(id).await.unwrap_or(submitted),
                };
                Ok(Submitted { job, is_replay: false })
            }
            // Its job may have another id than the one that was subscribed to.
            Err(store::Error::Refused(Refusal::Repeated(id))) => {
                self.replay(JobId(id), deadline.saturating_duration_since(Instant::now())).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn accepted(&self, submission: Submission) -> Result<Arc<Job>, store::Error> {
        self.shared.store.submit(submission, None).await?.get().await
    }

    async fn all_accepted(&self, calls: Vec<Submission>) -> Result<store::Submitted, store::Error> {
        self.shared.store.submit_many(Many { calls, batch: None }).await?.get().await
    }

    /// Submits many jobs, each for itself, in one commit; what came of each, in order.
    pub async fn submit_many(&self, news: Vec<NewJob>) -> Vec<Result<Submitted, Error>> {
        let (mut calls, mut asked) =
            (Vec::with_capacity(news.len()), Vec::with_capacity(news.len()));
        for new in news {
            asked.push(match self.asked(new).await {
                Ok(Asked::New(submission)) => {
                    calls.push(submission);
                    None
                }
                Ok(Asked::Before(id)) => Some(self.replay(id, Duration::ZERO).await),
                Err(refusal) => Some(Err(refusal)),
            });
        }
        let mut committed = match calls.is_empty() {
            true => Ok(Vec::new()),
            false => self.all_accepted(calls).await,
        };
        let mut answers = Vec::with_capacity(asked.len());
        let mut next = committed.as_mut().map(|it| it.drain(..)).map_err(|error| error.clone());
        for known in asked {
            answers.push(match (known, &mut next) {
                (Some(known), _) => known,
                (None, Err(error)) => Err(error.clone().into()),
                (None, Ok(next)) => match next.next() {
                    Some(Ok(job)) => Ok(Submitted { job, is_replay: false }),
                    Some(Err(store::Error::Refused(Refusal::Repeated(id)))) => {
                        self.replay(JobId(id), Duration::ZERO).await
                    }
                    Some(Err(error)) => Err(error.into()),
                    None => Err(Failure::Closed.into()),
                },
            });
        }
        answers
    }

    /// Checks what is asked for. What is refused now may have been taken when it first came: before its
    /// function was gone, or the server began to stop. Then its job is the answer all the same.
    async fn asked(&self, new: NewJob) -> Result<Asked, Error> {
        let (id, identity) = (new.id, new.identity.clone());
        match self.checked(new) {
            Ok(submission) => Ok(Asked::New(submission)),
            Err(refusal) => self.before(id, identity, refusal).await.map(Asked::Before),
        }
    }

    /// The job that was made when what is refused now first came.
    pub(super) async fn before(
        &self,
        id: Option<JobId>,
        identity: Option<Box<Identity>>,
        refusal: Error,
    ) -> Result<JobId, Error> {
        let Some(identity) = identity else { return Err(refusal) };
        let before = Box::pin(self.shared.store.repeated(id, &identity)).await?;
        before.map(JobId).ok_or(refusal)
    }

    pub(super) async fn replay(&self, id: JobId, wait: Duration) -> Result<Submitted, Error> {
        Ok(Submitted { job: Box::pin(self.wait(id, wait)).await?, is_replay: true })
    }
}
