//! Batches as they are shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::domain::{Batch, When};
use crate::engine::{BatchPage, batch_event_type};

use super::answer::to_json;
use super::body::At;
use super::extract::Query;
use super::proxies::prefix;

/// A batch.
#[derive(Serialize)]
pub(super) struct BatchBody<'a> {
    id: String,
    function: &'a str,
    total: i64,
    counts: CountsBody,
    done: bool,
    closed: bool,
    on_error: &'a str,
    created_at: At,
    finished_at: Option<At>,
    expires_at: Option<At>,
    cancel_requested_at: Option<At>,
    urls: UrlsBody,
}

#[derive(Serialize)]
struct CountsBody {
    pending: i64,
    running: i64,
    succeeded: i64,
    failed: i64,
    cancelled: i64,
}

#[derive(Serialize)]
struct UrlsBody {
    #[serde(rename = "self")]
    this: String,
    results: String,
    jobs: String,
    cancel: String,
    callbacks: String,
}

impl<'a> BatchBody<'a> {
    /// `batch` as it is shown.
    pub(super) fn of(batch: &'a Batch) -> Self {
        let (id, counts, below) = (batch.id.to_string(), batch.counts, prefix());
        let under = |rest: &str| format!("{below}/v1/batches/{id}{rest}");
        let shown = |at| At(batch.shown(at));
        Self {
            function: batch.function.as_str(),
            total: counts.total,
            counts: CountsBody {
                pending: counts.pending(),
                running: counts.running,
                succeeded: counts.succeeded,
                failed: counts.failed,
                cancelled: counts.cancelled,
            },
            done: batch.is_done(),
            closed: batch.is_closed,
            on_error: batch.on_error.as_str(),
            created_at: shown(batch.created_at),
            finished_at: batch.finished_at.map(shown),
            expires_at: batch.expires_at.map(shown),
            cancel_requested_at: batch.cancel_requested_at.map(shown),
            urls: UrlsBody {
                this: under(""),
                results: under("/results"),
                jobs: format!("{below}/v1/jobs?batch={id}"),
                cancel: under("/cancel"),
                callbacks: under("/callbacks"),
            },
            id,
        }
    }
}

/// A page of batches.
#[derive(Serialize)]
pub(super) struct BatchesBody<'a> {
    batches: Vec<BatchBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

impl<'a> BatchesBody<'a> {
    /// `page` as it is shown.
    pub(super) fn of(page: &'a BatchPage) -> Self {
        let token = page.next.map(|next| URL_SAFE_NO_PAD.encode(next.0.to_string()));
        Self { batches: page.batches.iter().map(BatchBody::of).collect(), next_page_token: token }
    }

    /// The `Link` to the next page.
    pub(super) fn next_link(&self, query: &Query) -> Option<String> {
        let token = self.next_page_token.as_ref()?;
        let mut next = url::form_urlencoded::Serializer::new(String::new());
        if let Some(size) = query.get("page_size") {
            next.append_pair("page_size", size);
        }
        next.append_pair("page_token", token);
        Some(format!("<{}/v1/batches?{}>; rel=\"next\"", prefix(), next.finish()))
    }
}

#[derive(Serialize)]
struct EventBody<'a> {
    r#type: &'a str,
    timestamp: At,
    data: BatchBody<'a>,
}

/// The body of the webhook that tells of `batch`, of which this has come about (Standard Webhooks 1.0).
#[must_use]
pub fn batch_webhook_event(batch: &Batch, when: When) -> String {
    to_json(&EventBody {
        r#type: batch_event_type(when),
        timestamp: At(batch.shown(batch.finished_at.unwrap_or(batch.created_at))),
        data: BatchBody::of(batch),
    })
}
