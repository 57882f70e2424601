//! `GET /v1/batches/{id}/results`: what iterating Python's `map` gives, line by line, while the jobs run (E5, E8).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::stream::{self, Stream};

use crate::domain::{Invalid, Job, LeftOut, State};
use crate::engine::{BatchResult, BatchResults, Error, Order};

use super::Desk;
use super::body::JobErrorBody;
use super::extract::{BatchPath, Query};
use super::job_body::damaged;
use super::last_event_id::{Resumed, nothing_more, place, resumed};
use super::lines::Form;
use super::list::{parameter, whole};
use super::print::{Object, m};
use super::problem::Problem;
use super::results_max::{self, ResultsMax};
use super::room::Outgoing;
use super::streamed::streamed;

/// How many rows an answer without a last row has.
const TOTAL: HeaderName = HeaderName::from_static("futurity-total");

/// Gives each result in its turn. A reader that went away goes on with `after`: the last `index` that it saw, or,
/// in the order of completion, the last `seq`.
pub(super) async fn results(
    Shared(desk): Shared<Arc<Desk>>,
    BatchPath(id): BatchPath,
    query: Query,
    (headers, Outgoing(share)): (HeaderMap, Outgoing),
) -> Result<Response, Problem> {
    let query = query.only(&["order", "after", "end", "with", results_max::NAME])?;
    let form = Form::of(&headers);
    let order = parameter(&query, "order", order)?.unwrap_or_default();
    let after = parameter(&query, "after", whole)?;
    let rows = Rows::of(&query, &desk, form)?;
    let Resumed::Behind(after) = resumed(&headers, after, row_place)? else {
        return Ok(nothing_more());
    };
    let results = desk.engine.batch_results(id, order, after, (share, rows.most.bytes())).await?;
    let (is_closed, total) = (results.batch().is_closed, results.batch().counts.total);
    let mut response = streamed(form, lines(results, order, after.unwrap_or(-1), rows));
    rows.count(&mut response, is_closed, total);
    Ok(response)
}

/// The place of a row; before the first of them it is -1.
fn row_place(text: &str) -> Result<i64, Invalid> {
    if text == "-1" { Ok(-1) } else { place(text) }
}

/// In which order results are given.
pub(super) fn order(word: &str) -> Result<Order, Invalid> {
    match word {
        "input" => Ok(Order::Input),
        "completed" => Ok(Order::Completed),
        _ => Err(Invalid::new("must be \"input\" or \"completed\"")),
    }
}

/// What the rows of an answer are to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) form: Form,
    pub(super) most: ResultsMax,
    /// Whether the last row says how many there are.
    pub(super) has_end: bool,
    with_arguments: bool,
    with_run_ms: bool,
}

impl Rows {
    pub(super) fn of(query: &Query, desk: &Desk, form: Form) -> Result<Self, Problem> {
        let most = results_max::of_query(query, desk)?;
        let has_end = parameter(query, "end", boolean)?.unwrap_or(true);
        let mut rows = Self { form, most, has_end, with_arguments: false, with_run_ms: false };
        let with = |words: &str| {
            for word in words.split(',') {
                match word {
                    "arguments" => rows.with_arguments = true,
                    "run_ms" => rows.with_run_ms = true,
                    _ => {
                        return Err(Invalid::new(
                            "must be \"arguments\", \"run_ms\", or both with a comma",
                        ));
                    }
                }
            }
            Ok(())
        };
        parameter(query, "with", with)?;
        Ok(rows)
    }

    /// Says how many rows there will be, where no row does and it is known.
    fn count(self, response: &mut Response, is_known: bool, total: i64) {
        if !self.has_end && is_known {
            response.headers_mut().insert(TOTAL, HeaderValue::from(total));
        }
    }

    /// One result: the value, or the error, of a job that is done; a job that was cancelled has neither.
    pub(super) fn add(self, out: &mut String, place: i64, index: i64, job: &Job) {
        let mut row = String::new();
        let mut it = Object::begin(&mut row);
        it.number(m!("index"), index);
        it.maybe_number(m!("seq"), job.finished_seq);
        it.word(m!("id"), &[&job.spec.id.to_string()]);
        it.word(m!("state"), &[job.state.as_str()]);
        it.number(m!("attempt"), job.attempt);
        let left_out = LeftOut::with_results(job, self.most.bytes());
        if self.with_run_ms {
            let ran = job.finished_at.zip(job.started_at);
            it.maybe_number(m!("run_ms"), ran.map(|(end, start)| end.millis_since(start)));
        }
        if self.with_arguments {
            arguments(&mut it, job, left_out.arguments);
        }
        outcome(&mut it, job, left_out);
        it.end();
        self.form.add(out, "result", Some(place), &row);
    }
}

/// A switch in a query.
pub(super) fn boolean(word: &str) -> Result<bool, Invalid> {
    word.parse().map_err(|_other| Invalid::new("must be true or false"))
}

fn arguments(it: &mut Object<'_>, job: &Job, is_left_out: bool) {
    match (&job.spec.args, &job.spec.kwargs) {
        (Some(args), Some(kwargs)) if !is_left_out => {
            it.json(m!("args"), Some(args));
            it.json(m!("kwargs"), Some(kwargs));
        }
        _ => it.flag(m!("args_omitted"), true),
    }
}

fn lines(
    results: BatchResults,
    order: Order,
    after: i64,
    rows: Rows,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold((results, after), move |(mut results, mut last)| async move {
        let mut text = String::new();
        let lines = match results.next().await {
            Ok(None) => return None,
            Ok(Some(BatchResult::Jobs(jobs, held))) => {
                for (index, job) in &jobs {
                    last = match order {
                        Order::Input => *index,
                        Order::Completed => job.finished_seq.unwrap_or(last),
                    };
                    rows.add(&mut text, last, *index, job);
                }
                results.saw(jobs.len(), text.len());
                Ok(held.counted(text))
            }
            Ok(Some(BatchResult::End { completed, unfinished })) => {
                if unfinished > 0 && !rows.has_end {
                    // The server stops: without a last row only a stream that breaks off says that more was to come.
                    Err(Error::Draining)
                } else {
                    if rows.has_end {
                        let end = end(completed, unfinished, false);
                        rows.form.end(&mut text, last, unfinished == 0, &end);
                    }
                    Ok(Bytes::from(text))
                }
            }
            Err(error) => {
                tracing::error!(%error, "results cannot be read; the stream is cut off");
                Err(error)
            }
        };
        Some((lines, (results, last)))
    })
}

/// What came of a job: its value, or its error. What is left out has no name but that which says so.
pub(super) fn outcome(it: &mut Object<'_>, job: &Job, left_out: LeftOut) {
    match (job.state, &job.error) {
        (State::Succeeded, _) => match job.result.as_ref().filter(|_| !left_out.result) {
            Some(result) => it.json(m!("result"), Some(result)),
            None if job.result_omitted || job.result.is_some() => {
                it.flag(m!("result_omitted"), true);
            }
            // It does not read back.
            None => {}
        },
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
}

/// The last object of a stream.
pub(super) fn end(completed: i64, unfinished: i64, timed_out: bool) -> String {
    format!(
        "{{\"end\":{{\"completed\":{completed},\"unfinished\":{unfinished},\"timed_out\":{timed_out}}}}}"
    )
}
