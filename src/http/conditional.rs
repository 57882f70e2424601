//! `GET /v1/jobs/{id}`, also conditional on its version (RFC 9110, section 13).

use std::sync::Arc;

use axum::extract::{FromRequestParts, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use crate::domain::Job;
use crate::engine::Share;

use super::Desk;
use super::answer;
use super::extract::{JobPath, Query};
use super::job_body::{JobBody, View};
use super::list_header;
use super::members::Members;
use super::preferences::Preferences;
use super::problem::{Code, Problem};
use super::room::{self, Outgoing};
use super::wait::Wait;

/// `Future.done`, `Future.running` (F6); with `wait`, when it is done. With `If-None-Match` it answers 304
/// while the version is a known one, and with both, as soon as it is no more.
pub(super) async fn get(
    Shared(desk): Shared<Arc<Desk>>,
    JobPath(id): JobPath,
    query: Query,
    preferences: Preferences,
    (known, Outgoing(share)): (Known, Outgoing),
) -> Result<Response, Problem> {
    let query = query.only(&["wait", "fields"])?;
    let members = Members::read(query.get("fields"))?;
    let wait = Wait::read(&query, preferences, &desk)?;
    if known == Known::Nothing {
        let job = desk.engine.wait(id, wait.duration).await?;
        return shown((&desk, &share), job, &wait, members.as_ref()).await;
    }
    let job = desk.engine.wait_for_change(id, |job| known.has(job), wait.duration).await?;
    if known.has(&job) {
        return Ok(answer::not_modified(&job, &wait));
    }
    shown((&desk, &share), job, &wait, members.as_ref()).await
}

/// The job, and how its callbacks stand.
async fn shown(
    (desk, share): (&Desk, &Share),
    job: Arc<Job>,
    wait: &Wait,
    members: Option<&Members>,
) -> Result<Response, Problem> {
    let bytes = room::bytes_of(&job);
    let (job, held) = desk.with_room(share, job, bytes).await?;
    let callbacks = desk.engine.callback_states(&job).await?;
    let body = JobBody::of(&job, View::Whole).telling(callbacks).only(members);
    Ok(room::counted(answer::job_shown(&body, &job, wait), held))
}

/// The versions that a client has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// None: the client asks for the job whatever its version is.
    Nothing,
    Any,
    Versions(Vec<String>),
}

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

impl Known {
    /// Reads `If-None-Match`: `*`, or entity tags, which are compared weakly.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut tags = Vec::new();
        for value in headers.get_all(header::IF_NONE_MATCH) {
            let text = value.to_str().map_err(|_not_a_text| malformed())?;
            if text.trim() == "*" {
                return Ok(Self::Any);
            }
            for tag in list_header::entity_tags(text) {
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                let opaque = opaque.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                tags.push(opaque.ok_or_else(malformed)?.to_owned());
            }
        }
        Ok(if tags.is_empty() { Self::Nothing } else { Self::Versions(tags) })
    }

    fn has(&self, job: &Job) -> bool {
        match self {
            Self::Nothing => false,
            Self::Any => true,
            Self::Versions(tags) => tags.contains(&job.version.to_string()),
        }
    }
}

fn malformed() -> Problem {
    let detail =
        "If-None-Match must be * or entity tags such as \"3\" or W/\"3\", as ETag gave them";
    Problem::new(Code::BadRequest, detail)
}
