//! `POST /v1/jobs/wait`: `concurrent.futures.wait` (W1 to W10).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{BatchId, Invalid, JobId};
use crate::engine::{Ended, EndedJob, Engine, Error, Portions, ReturnWhen, Share, portion_room};

use super::Desk;
use super::answer::{self, to_json};
use super::extract::{JsonBody, Query};
use super::fields::{Fields, is_empty_array, kind};
use super::job_body::{JobBody, View};
use super::limits::SUBMISSION;
use super::list::batch_id;
use super::problem::{FieldError, Problem};
use super::results_max::{self, ResultsMax};
use super::room::Outgoing;
use super::wait::wait_of;

/// Ids in one wait.
pub(super) const IDS_MAX: usize = 10_000;

/// Waits, and answers 200 whatever came of it (W2): the jobs that are done, the ids of the others, and how those ended
/// that were forgotten meanwhile, each in the order asked.
pub(super) async fn wait(
    Shared(desk): Shared<Arc<Desk>>,
    query: Query,
    Outgoing(share): Outgoing,
    body: JsonBody<SUBMISSION>,
) -> Result<Response, Problem> {
    query.only(&[])?;
    let mut fields = Fields::of("", body.required()?)?;
    let named = named(&mut fields);
    let when = fields.checked("return_when", "a string", |word: String| {
        ReturnWhen::parse(&word).ok_or_else(|| {
            Invalid::new("must be \"ALL_COMPLETED\", \"FIRST_COMPLETED\" or \"FIRST_EXCEPTION\"")
        })
    });
    let wait = timeout(&mut fields);
    let most = results_max::field(&mut fields, &desk);
    fields.faults().into_result()?;
    let wait = wait.unwrap_or(Duration::MAX).min(desk.wait_max());
    drop(body);
    let ids = desk.ids_of(named).await?;
    let waited = desk.engine.wait_many(&ids, when.unwrap_or_default(), wait).await?;
    let not_done: Vec<String> = waited.not_done.iter().map(JobId::to_string).collect();
    let rest = format!("],\"not_done\":{},\"timed_out\":{}", to_json(&not_done), waited.timed_out);
    let (engine, portions) = (desk.engine.clone(), Portions::default());
    let (done, gone, rest) = (waited.done, Vec::new(), Some(rest));
    let pages = Pages { engine, share, done, at: 0, most, portions, has_begun: false, gone, rest };
    let mut response = answer::json_text(StatusCode::OK, pages.into_body());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Which jobs a request waits for.
pub(super) enum Named {
    /// These.
    Ids(Vec<JobId>),
    /// Those of this batch.
    Batch(BatchId),
}

/// The field `ids`, or the field `batch` in its place.
pub(super) fn named(fields: &mut Fields<'_>) -> Named {
    let batch = fields.checked("batch", "a string", |id: String| batch_id(&id));
    match batch {
        None => Named::Ids(ids(fields).unwrap_or_default()),
        Some(batch) => {
            if fields.raw("ids").is_some_and(|ids| !is_empty_array(ids)) {
                fields.refuse("ids", "batch is given as well; give one of them".to_owned());
            }
            Named::Batch(batch)
        }
    }
}

impl Desk {
    /// The ids of the jobs that are named.
    pub(super) async fn ids_of(&self, named: Named) -> Result<Vec<JobId>, Problem> {
        match named {
            Named::Ids(ids) => Ok(ids),
            Named::Batch(batch) => Ok(self.engine.jobs_of_batch(batch).await?),
        }
    }
}

/// The field `ids`: at most 10,000 UUIDs. One may stand there more than once (W1).
fn ids(fields: &mut Fields<'_>) -> Option<Vec<JobId>> {
    let found = fields.raw("ids");
    let Some(list) = found else {
        fields.refuse("ids", "is required, or a batch in its place".to_owned());
        return None;
    };
    let Ok(texts) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
        fields.refuse("ids", format!("must be an array of ids, not {}", kind(list)));
        return None;
    };
    if texts.len() > IDS_MAX {
        fields.refuse("ids", format!("may hold {IDS_MAX} ids; wait for fewer at once"));
        return None;
    }
    let mut ids = Vec::with_capacity(texts.len());
    for (place, text) in texts.into_iter().enumerate() {
        let text: Option<String> = serde_json::from_str(text.get()).ok();
        match text.and_then(|text| Uuid::try_parse(&text).ok()) {
            Some(id) => ids.push(JobId(id)),
            None => fields.adopt(
                FieldError {
                    pointer: format!("/ids/{place}"),
                    detail: "must be the id of a job, a UUID".to_owned(),
                }
                .into(),
            ),
        }
    }
    Some(ids)
}

/// The field `timeout_seconds`. 0 and less do not wait, as in Python.
pub(super) fn timeout(fields: &mut Fields<'_>) -> Option<Duration> {
    fields.take("timeout_seconds", "a number").map(wait_of)
}

/// A job that was forgotten since its end.
pub(super) fn gone(ended: &Ended) -> String {
    format!("{{\"id\":\"{}\",\"state\":\"{}\"}}", ended.id, ended.state.as_str())
}

/// The answer's text, read and printed page by page: ten thousand jobs are too many for memory.
struct Pages {
    engine: Engine,
    share: Share,
    done: Vec<Ended>,
    at: usize,
    most: ResultsMax,
    portions: Portions,
    /// Whether a job is printed: the next one stands behind a comma.
    has_begun: bool,
    /// Those that were forgotten, as they are printed.
    gone: Vec<String>,
    rest: Option<String>,
}

impl Pages {
    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut pages| async move {
            let page = pages.next().await?;
            Some((page, pages))
        }))
    }

    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.rest.as_ref()?;
        let mut text = String::from(if self.at == 0 { "{\"done\":[" } else { "" });
        let page = &self.done[self.at..self.done.len().min(self.at + self.portions.next())];
        let most = self.most.bytes();
        let held = self.share.take(portion_room(most)).await;
        let count = match self.engine.ended_jobs(page, most).await {
            Ok((jobs, count)) => {
                for job in &jobs {
                    match job {
                        EndedJob::Kept(job) => {
                            let is_first = !std::mem::replace(&mut self.has_begun, true);
                            text.push_str(if is_first { "" } else { "," });
                            text.push_str(&JobBody::of(job, View::Results(most)).text());
                        }
                        EndedJob::Gone(ended) => self.gone.push(gone(ended)),
                    }
                }
                count
            }
            Err(error) => {
                tracing::error!(%error, "jobs that are done cannot be read; the answer is cut off");
                self.rest = None;
                return Some(Err(error));
            }
        };
        self.at += count;
        self.portions.saw(count, text.len());
        if self.at == self.done.len() {
            text.push_str(&self.rest.take()?);
            if !self.gone.is_empty() {
                write!(text, ",\"gone\":[{}]", self.gone.join(",")).unwrap_or_default();
            }
            text.push('}');
        }
        Some(Ok(held.counted(text)))
    }
}
