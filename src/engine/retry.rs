//! A job that is submitted again.

use std::time::Duration;

use crate::domain::{Identity, JobId, Json, Options, Start, State};

use super::keys::Asker;
use super::{Engine, Error, NewJob, Submitted};

impl Engine {
    /// Submits the call of a job that failed or was cancelled again, as a new job with the same options. Its
    /// callbacks are not taken along: whoever gave them was told of the job that they were given with. The new job may
    /// have an id that was `chosen`; a request that has an identity makes one job however often it comes.
    pub async fn retry(
        &self,
        id: JobId,
        chosen: Option<JobId>,
        identity: Option<Box<Identity>>,
        asker: Asker,
    ) -> Result<Submitted, Error> {
        match self.failed_call(id).await {
            Ok(call) => self.submit(NewJob { asker, id: chosen, identity, ..call }).await,
            Err(refusal) => {
                let before = self.before(chosen, identity, refusal).await?;
                self.replay(before, Duration::ZERO).await
            }
        }
    }

    /// What a job called for that did not succeed.
    async fn failed_call(&self, id: JobId) -> Result<NewJob, Error> {
        let job = self.get(id).await?;
        match job.state {
            State::Failed | State::Cancelled => {}
            State::Pending | State::Running | State::Succeeded => {
                return Err(Error::NotRetried { id, state: job.state });
            }
        }
        if job.damage.arguments {
            return Err(Error::Damaged(format!("the arguments of job {id} do not read back")));
        }
        let spec = &job.spec;
        Ok(NewJob {
            asker: Asker::default(),
            id: None,
            function: Some(spec.function.to_string()),
            args: spec.args.clone().unwrap_or_else(Json::empty_array),
            kwargs: spec.kwargs.clone().unwrap_or_else(Json::empty_object),
            queue: Some(spec.queue.clone()).filter(|queue| !queue.is_none()),
            priority: spec.priority,
            on_interrupt: Some(spec.on_interrupt),
            tags: spec.tags.clone(),
            metadata: spec.metadata.clone(),
            retry: Some(spec.options.retry),
            options: Options { retry_of: Some(id), ..spec.options },
            start: Start::AtOnce,
            identity: None,
            callbacks: Vec::new(),
        })
    }
}
