//! `POST /v1/jobs/as-completed`: `concurrent.futures.as_completed` (A1 to A6), as lines of JSON or as events.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{self, Stream};

use crate::domain::{LeftOut, Tags};
use crate::engine::{Completion, Completions, EndedJob, Error, OpenCompletion, OpenCompletions};

use super::Desk;
use super::batch_results::{end, outcome};
use super::extract::{JsonBody, Query};
use super::fields::Fields;
use super::job_body::{JobBody, View};
use super::last_event_id::{Resumed, nothing_more, place, resumed};
use super::limits::SUBMISSION;
use super::lines::Form;
use super::print::{Object, m};
use super::problem::Problem;
use super::results_max::{self, ResultsMax};
use super::room::Outgoing;
use super::streamed::streamed;
use super::wait_many::{gone, named, timeout};

/// Gives each job as it is done, those that are done already first, in the order of their ends. A reader
/// that went away goes on with `after`, the last `seq` that it saw.
pub(super) async fn as_completed(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    (headers, Outgoing(share)): (HeaderMap, Outgoing),
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let form = Form::of(&headers);
    let mut fields = Fields::of("", body.required()?)?;
    let is_open = fields.take("open", "a boolean").unwrap_or_default();
    let after: Option<i64> = fields.take("after", "a whole number");
    let resumed = resumed(&headers, after, place)?;
    let most = results_max::field(&mut fields, &desk);
    if is_open {
        let tag = tag(&mut fields);
        fields.faults().into_result()?;
        let Resumed::Behind(after) = resumed else { return Ok(nothing_more()) };
        let open = desk.engine.open_completions(&tag, after, (share, most.bytes())).await?;
        return Ok(streamed(form, open_lines(open, form, most)));
    }
    if fields.raw("tag").is_some() {
        fields.refuse("tag", "goes with \"open\": true; else name ids, or a batch".to_owned());
    }
    let named = named(&mut fields);
    let wait = timeout(&mut fields);
    fields.faults().into_result()?;
    drop(body);
    let Resumed::Behind(after) = resumed else { return Ok(nothing_more()) };
    let ids = desk.ids_of(named).await?;
    let after = after.unwrap_or(0);
    let completions = desk.engine.as_completed(&ids, after, wait, (share, most.bytes())).await?;
    Ok(streamed(form, lines(completions, after, form, most)))
}

/// The tag whose jobs an open stream gives; it has no end, and names no jobs.
fn tag(fields: &mut Fields<'_>) -> String {
    for name in ["ids", "batch", "timeout_seconds"] {
        if fields.raw(name).is_some() {
            let detail = "an open stream gives the jobs of a tag, and has no end; leave it out";
            fields.refuse(name, detail.to_owned());
        }
    }
    let tag = fields
        .checked("tag", "a string", |tag: String| Tags::new(vec![tag.clone()]).map(|_legal| tag));
    fields.required("tag", tag).unwrap_or_default()
}

fn lines(
    completions: Completions,
    after: i64,
    form: Form,
    most: ResultsMax,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold((completions, after), move |(mut completions, mut place)| async move {
        let lines = match completions.next().await {
            Ok(None) => return None,
            Ok(Some(Completion::Jobs(jobs, held))) => {
                let text = printed(&jobs, form, most);
                place = jobs.last().map_or(place, |(seq, _)| *seq);
                completions.saw(jobs.len(), text.len());
                Ok(held.counted(text))
            }
            Ok(Some(Completion::End { completed, unfinished, timed_out })) => {
                let is_for_good = unfinished == 0;
                let [completed, unfinished] =
                    [completed, unfinished].map(|it| i64::try_from(it).unwrap_or(i64::MAX));
                let mut text = String::new();
                form.end(&mut text, place, is_for_good, &end(completed, unfinished, timed_out));
                Ok(Bytes::from(text))
            }
            Err(error) => {
                tracing::error!(%error, "jobs that are done cannot be read; the stream is cut off");
                Err(error)
            }
        };
        Some((lines, (completions, place)))
    })
}

fn printed(jobs: &[(i64, EndedJob)], form: Form, most: ResultsMax) -> String {
    let mut text = String::new();
    for (seq, job) in jobs {
        let json = match job {
            EndedJob::Kept(job) => {
                let job = JobBody::of(job, View::Results(most.bytes())).text();
                format!("{{\"seq\":{seq},\"job\":{job}}}")
            }
            EndedJob::Gone(ended) => format!("{{\"seq\":{seq},\"gone\":{}}}", gone(ended)),
        };
        form.add(&mut text, "job", Some(*seq), &json);
    }
    text
}

fn open_lines(
    open: OpenCompletions,
    form: Form,
    most: ResultsMax,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold(open, move |mut open| async move {
        let mut text = String::new();
        let lines = match open.next().await {
            Ok(None) => return None,
            Ok(Some(OpenCompletion::Begin(seq))) => {
                let begin = format!("{{\"begin\":{{\"seq\":{seq}}}}}");
                form.add(&mut text, "begin", Some(seq), &begin);
                Ok(Bytes::from(text))
            }
            Ok(Some(OpenCompletion::Jobs(jobs, held))) => {
                for (seq, job) in &jobs {
                    form.add(&mut text, "job", Some(*seq), &short(*seq, job, most));
                }
                open.saw(jobs.len(), text.len());
                Ok(held.counted(text))
            }
            Ok(Some(OpenCompletion::Stopping(seq))) => {
                let end = format!("{{\"end\":{{\"seq\":{seq},\"reason\":\"stopping\"}}}}");
                form.end(&mut text, seq, false, &end);
                Ok(Bytes::from(text))
            }
            Err(error) => {
                tracing::error!(%error, "jobs that are done cannot be read; the stream is cut off");
                Err(error)
            }
        };
        Some((lines, open))
    })
}

/// What came of a job, and no more: whoever submits many reads each of these. Of one that was forgotten since, how it ended.
fn short(seq: i64, job: &EndedJob, most: ResultsMax) -> String {
    let (id, state) = match job {
        EndedJob::Kept(job) => (job.spec.id, job.state),
        EndedJob::Gone(ended) => (ended.id, ended.state),
    };
    let mut out = String::new();
    let mut it = Object::begin(&mut out);
    it.number(m!("seq"), seq);
    it.word(m!("id"), &[&id.to_string()]);
    it.word(m!("state"), &[state.as_str()]);
    match job {
        EndedJob::Kept(job) => {
            it.number(m!("attempt"), job.attempt);
            outcome(&mut it, job, LeftOut::with_results(job, most.bytes()));
        }
        EndedJob::Gone(_) => it.flag(m!("gone"), true),
    }
    it.end();
    out
}
