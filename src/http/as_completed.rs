//! `POST /v1/jobs/as-completed`: `concurrent.futures.as_completed` (A1 to A6), as lines of JSON.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::Response;
use futures_util::stream;

use crate::engine::{Completion, Completions, EndedJob, Error};

use super::Desk;
use super::batch_results::{end, streamed};
use super::beats::{SPACE, beating};
use super::extract::{JsonBody, Query};
use super::fields::Fields;
use super::job_body::{JobBody, View};
use super::limits::SUBMISSION;
use super::problem::Problem;
use super::room::Outgoing;
use super::wait_many::{gone, named, timeout};

/// Gives each job as it is done, those that are done already first, in the order of their ends. A reader
/// that went away goes on with `after`, the last `seq` that it saw.
pub(super) async fn as_completed(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    Outgoing(share): Outgoing,
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let mut fields = Fields::of("", body.required()?)?;
    let named = named(&mut fields);
    let after: Option<i64> = fields.take("after", "a whole number");
    let wait = timeout(&mut fields);
    fields.faults().into_result()?;
    drop(body);
    let ids = desk.ids_of(named).await?;
    let completions = desk.engine.as_completed(&ids, after.unwrap_or(0), wait, share).await?;
    Ok(lines(completions))
}

fn lines(completions: Completions) -> Response {
    let lines = stream::unfold(completions, |mut completions| async move {
        let lines = match completions.next().await {
            Ok(None) => return None,
            Ok(Some(Completion::Jobs(jobs, held))) => {
                let text = printed(&jobs);
                completions.saw(jobs.len(), text.len());
                Ok(held.counted(text))
            }
            Ok(Some(Completion::End { completed, unfinished, timed_out })) => {
                let [completed, unfinished] =
                    [completed, unfinished].map(|it| i64::try_from(it).unwrap_or(i64::MAX));
                Ok(Bytes::from(end(completed, unfinished, timed_out)))
            }
            Err(error) => {
                tracing::error!(%error, "jobs that are done cannot be read; the stream is cut off");
                Err::<Bytes, Error>(error)
            }
        };
        Some((lines, completions))
    });
    streamed(beating(lines, SPACE))
}

fn printed(jobs: &[(i64, EndedJob)]) -> String {
    let line = |(seq, job): &(i64, EndedJob)| match job {
        EndedJob::Kept(job) => {
            format!("{{\"seq\":{seq},\"job\":{}}}\n", JobBody::of(job, View::Brief).text())
        }
        EndedJob::Gone(ended) => format!("{{\"seq\":{seq},\"gone\":{}}}\n", gone(ended)),
    };
    jobs.iter().map(line).collect()
}
