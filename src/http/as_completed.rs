//! `POST /v1/jobs/as-completed`: `concurrent.futures.as_completed` (A1 to A6), as lines of JSON.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::response::Response;
use futures_util::stream;

use crate::engine::{Completion, Completions, Error};

use super::Desk;
use super::batch_results::streamed;
use super::extract::{JsonBody, Query};
use super::fields::Fields;
use super::job_body::{JobBody, View};
use super::limits::SUBMISSION;
use super::problem::Problem;
use super::wait_many::{named, timeout};

/// Gives each job as it is done, those that are done already first, in the order of their ends. A reader
/// that went away goes on with `after`, the last `seq` that it saw.
pub(super) async fn as_completed(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let mut fields = Fields::of("", body.required()?)?;
    let named = named(&mut fields);
    let after: Option<i64> = fields.take("after", "a whole number");
    let wait = timeout(&mut fields);
    fields.faults().into_result()?;
    let ids = desk.ids_of(named).await?;
    let completions = desk.engine.as_completed(&ids, after.unwrap_or(0), wait).await?;
    Ok(lines(completions))
}

fn lines(completions: Completions) -> Response {
    let body = Body::from_stream(stream::unfold(completions, |mut completions| async move {
        let lines = match completions.next().await {
            Ok(None) => return None,
            Ok(Some(completion)) => Ok(Bytes::from(printed(&completion))),
            Err(error) => {
                tracing::error!(%error, "jobs that are done cannot be read; the stream is cut off");
                Err::<Bytes, Error>(error)
            }
        };
        Some((lines, completions))
    }));
    streamed(body)
}

fn printed(completion: &Completion) -> String {
    match completion {
        Completion::Jobs(jobs) => {
            let line = |(seq, job)| {
                format!("{{\"seq\":{seq},\"job\":{}}}\n", JobBody::of(job, View::Brief).text())
            };
            jobs.iter().map(|(seq, job)| line((seq, job))).collect()
        }
        Completion::End { completed, unfinished, timed_out } => format!(
            "{{\"end\":{{\"completed\":{completed},\"unfinished\":{unfinished},\"timed_out\":{timed_out}}}}}\n"
        ),
    }
}
