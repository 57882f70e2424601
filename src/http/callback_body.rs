//! Callbacks as they are shown.

use serde::{Serialize, Serializer};

use crate::domain::{Callback, CallbackState, Delivery, DeliveryState, Owner, StateCounts, When};

use super::body::At;

/// A callback.
#[derive(Serialize)]
pub(super) struct CallbackBody<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    url: &'a str,
    /// Nearly never so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    url_omitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a str>,
    state: &'a str,
    created_at: At,
    deliveries: Vec<DeliveryBody<'a>>,
}

#[derive(Serialize)]
struct DeliveryBody<'a> {
    id: String,
    state: &'a str,
    next_at: Option<At>,
    /// Nearly always none.
    #[serde(skip_serializing_if = "is_none")]
    server_deaths: u32,
    attempts: Vec<AttemptBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_attempts: Option<usize>,
}

#[derive(Serialize)]
struct AttemptBody<'a> {
    at: At,
    status: Option<u16>,
    error: Option<&'a str>,
    body: Option<&'a str>,
    duration_ms: i64,
}

impl<'a> CallbackBody<'a> {
    /// `callback` as it is shown. Its secret is not.
    pub(super) fn of(callback: &'a Callback) -> Self {
        let id = callback.id.to_string();
        let (job, batch) = match callback.owner {
            Owner::Job(id) => (Some(id.to_string()), None),
            Owner::Batch(id) => (None, Some(id.to_string())),
        };
        let delivery = callback.delivery.as_ref().map(|it| delivery(id.clone(), it));
        Self {
            job,
            batch,
            url: &callback.url,
            url_omitted: callback.url_omitted,
            when: callback.when.map(When::as_str),
            state: callback.state().as_str(),
            created_at: At(callback.created_at),
            deliveries: delivery.into_iter().collect(),
            id,
        }
    }
}

fn delivery(id: String, delivery: &Delivery) -> DeliveryBody<'_> {
    let state = match delivery.state {
        // The callback says which of the two it was.
        DeliveryState::Failed | DeliveryState::Disabled => "failed",
        DeliveryState::Pending | DeliveryState::Delivered => delivery.state.as_str(),
    };
    let attempts = delivery.attempts.iter().map(|attempt| AttemptBody {
        at: At(attempt.at),
        status: attempt.status,
        error: attempt.error.as_deref(),
        body: attempt.body.as_deref(),
        duration_ms: attempt.duration_ms,
    });
    let earlier_attempts = Some(delivery.earlier_attempts).filter(|earlier| *earlier > 0);
    let (next_at, server_deaths) = (delivery.next_at.map(At), delivery.deaths);
    let attempts = attempts.collect();
    DeliveryBody { id, state, next_at, server_deaths, attempts, earlier_attempts }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// Callbacks.
#[derive(Serialize)]
pub(super) struct CallbacksBody<'a> {
    pub(super) callbacks: Vec<CallbackBody<'a>>,
    /// None on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

/// How many callbacks are in each state.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateCountsBody(pub(super) StateCounts);

impl Serialize for StateCountsBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = CallbackState::ALL.map(|state| (state.as_str(), self.0.of(state)));
        serializer.collect_map(counts)
    }
}
