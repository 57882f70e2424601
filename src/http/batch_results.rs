//! `GET /v1/batches/{id}/results`: what iterating Python's `map` gives, line by line, while the jobs run (E5, E8).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;

use crate::domain::{Invalid, Job, LeftOut, State};
use crate::engine::{BatchResult, BatchResults, Error, Order};

use super::Desk;
use super::beats::{SPACE, beating};
use super::body::JobErrorBody;
use super::extract::{BatchPath, Query};
use super::job_body::damaged;
use super::list::parameter;
use super::print::{Object, m};
use super::problem::Problem;
use super::room::Outgoing;

/// Gives each result in its turn. A reader that went away goes on with `after`: the last `index` that it saw, or,
/// in the order of completion, the last `seq`.
pub(super) async fn results(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    Outgoing(share): Outgoing,
) -> Result<Response, Problem> {
    let query = query.only(&["order", "after"])?;
    let order = parameter(&query, "order", order)?.unwrap_or_default();
    let whole = |text: &str| text.parse().map_err(|_other| Invalid::new("must be a whole number"));
    let after: Option<i64> = parameter(&query, "after", whole)?;
    Ok(lines(desk.engine.batch_results(id, order, after, share).await?))
}

/// In which order results are given.
pub(super) fn order(word: &str) -> Result<Order, Invalid> {
    match word {
        "input" => Ok(Order::Input),
        "completed" => Ok(Order::Completed),
        _ => Err(Invalid::new("must be \"input\" or \"completed\"")),
    }
}

fn lines(results: BatchResults) -> Response {
    let lines = stream::unfold(results, |mut results| async move {
        let lines = match results.next().await {
            Ok(None) => return None,
            Ok(Some(BatchResult::Jobs(jobs, held))) => {
                let mut text = String::new();
                jobs.iter().for_each(|(index, job)| line(&mut text, *index, job));
                results.saw(jobs.len(), text.len());
                Ok(held.counted(text))
            }
            Ok(Some(BatchResult::End { completed, unfinished })) => {
                Ok(Bytes::from(end(completed, unfinished, false)))
            }
            Err(error) => {
                tracing::error!(%error, "results cannot be read; the stream is cut off");
                Err::<Bytes, Error>(error)
            }
        };
        Some((lines, results))
    });
    streamed(beating(lines, SPACE))
}

/// Lines of JSON as an answer.
pub(super) fn streamed(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// One result: the value, or the error, of a job that is done; a job that was cancelled has neither.
pub(super) fn line(out: &mut String, index: i64, job: &Job) {
    let mut it = Object::begin(out);
    it.number(m!("index"), index);
    it.maybe_number(m!("seq"), job.finished_seq);
    it.word(m!("id"), &[&job.spec.id.to_string()]);
    it.word(m!("state"), &[job.state.as_str()]);
    let left_out = LeftOut::of(job);
    match (job.state, &job.error) {
        (State::Succeeded, _) => {
            let result = job.result.as_ref().filter(|_| !left_out.result);
            it.json(m!("result"), result);
            if result.is_none() && (job.result_omitted || job.result.is_some()) {
                it.flag(m!("result_omitted"), true);
            }
        }
        (_, Some(error)) => {
            let brief = left_out.error.then(|| error.brief());
            it.value(m!("error"), &JobErrorBody::of(brief.as_ref().unwrap_or(error)));
            if left_out.error || job.error_omitted {
                it.flag(m!("error_omitted"), true);
            }
        }
        // Of one that failed only if its error does not read back.
        (State::Pending | State::Running | State::Failed | State::Cancelled, None) => {}
    }
    if job.damage.outcome {
        it.value(m!("damaged"), &damaged(job.damage));
    }
    it.end();
    out.push('\n');
}

/// The last line of a stream.
pub(super) fn end(completed: i64, unfinished: i64, timed_out: bool) -> String {
    format!(
        "{{\"end\":{{\"completed\":{completed},\"unfinished\":{unfinished},\"timed_out\":{timed_out}}}}}\n"
    )
}
