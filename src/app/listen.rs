//! `futurity listen`: a receiver of webhooks for development, which verifies and shows each delivery.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpListener;

use crate::config::InvalidConfig;
use crate::domain::Timestamp;
use crate::engine::secret::WebhookSecrets;
use crate::http::{self, Arrival};
use crate::outbound::{Secret, Unverified, verify};

use super::{Failure, printed, wall_clock};

pub(crate) use crate::http::Reaction;

/// Ids that are remembered, to count how often each has come.
const IDS_MAX: usize = 10_000;
/// As much as is shown of a type or an id, of method and path, and of a body.
const WORD_CHARS_MAX: usize = 128;
const LINE_CHARS_MAX: usize = 512;
const BODY_CHARS_MAX: usize = 64 * 1024;

/// What to expect, and how to answer.
#[derive(Debug)]
pub(crate) struct Listen {
    /// The port on 127.0.0.1; 0 picks one.
    pub(crate) port: u16,
    /// What deliveries are signed with; none: what the server on the data directory signs with.
    pub(crate) secret: Option<String>,
    /// How each delivery is answered; none: 204 if it is verified, else 401.
    pub(crate) reaction: Option<Reaction>,
    /// Only so often each; then it is taken.
    pub(crate) times: Option<usize>,
}

enum Known {
    Given(Secret),
    OfServer(WebhookSecrets),
}

impl Known {
    fn secrets(&self, now: Timestamp) -> Vec<Secret> {
        match self {
            Self::Given(secret) => vec![secret.clone()],
            Self::OfServer(secrets) => secrets.active_in_file(now).unwrap_or_default(),
        }
    }
}

/// Listens until the process ends, and says what comes.
pub(crate) async fn listen(
    asked: Listen,
    data_dir: &Path,
    say: impl Fn(&str) + Send + Sync + 'static,
) -> Result<(), Failure> {
    let Listen { port, secret, reaction, times } = asked;
    let known = match secret {
        Some(text) => Known::Given(
            Secret::parse(&text)
                .map_err(|error| Failure::Config(InvalidConfig(format!("--secret: {error}"))))?,
        ),
        None => Known::OfServer(
            WebhookSecrets::open(data_dir).map_err(Failure::io("the secret cannot be read"))?,
        ),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(Failure::io(format!("cannot listen on {address}")))?;
    let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
    say(&format!(
        "listening on http://{address}; let the server reach it with --allow-loopback-egress"
    ));
    let seen = Mutex::new(HashMap::new());
    let react = move |arrival: &Arrival| {
        let nth = count(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), arrival);
        let verdict = verdict(arrival, &known.secrets(wall_clock()));
        let usual = Reaction::Status(if verdict.is_ok() { 204 } else { 401 }, None);
        let reaction = reaction.filter(|_| times.is_none_or(|times| nth <= times));
        let reaction = reaction.unwrap_or(usual);
        say(&told(arrival, verdict, nth, reaction));
        reaction
    };
    http::receive(listener, react).await.map_err(Failure::io("the receiver has ended"))
}

/// How often the id of this delivery has come.
fn count(seen: &mut HashMap<String, usize>, arrival: &Arrival) -> usize {
    let id = printed(arrival.header("webhook-id").unwrap_or_default(), WORD_CHARS_MAX);
    let id = id.as_str();
    if seen.len() >= IDS_MAX && !seen.contains_key(id) {
        seen.clear();
    }
    let count = seen.entry(id.to_owned()).or_default();
    *count += 1;
    *count
}

fn verdict(arrival: &Arrival, secrets: &[Secret]) -> Result<(), Unverified> {
    let now_seconds = wall_clock().0.div_euclid(1_000);
    verify(secrets, |name| arrival.header(name), &arrival.body, now_seconds)
}

/// A delivery in two lines: whether it can be trusted and what it is, and its body. Whoever sends it chooses the words
/// behind the verdict, and none before it: the first line begins with it, the second with a space.
fn told(
    arrival: &Arrival,
    verdict: Result<(), Unverified>,
    nth: usize,
    reaction: Reaction,
) -> String {
    let verdict = match verdict {
        Ok(()) => "verified".to_owned(),
        Err(unverified) => format!("NOT VERIFIED ({unverified})"),
    };
    let event = serde_json::from_slice::<serde_json::Value>(&arrival.body).unwrap_or_default();
    let kind = printed(event["type"].as_str().unwrap_or("no event"), WORD_CHARS_MAX);
    let id = arrival.header("webhook-id").unwrap_or("without webhook-id");
    let id = printed(id, WORD_CHARS_MAX);
    let answer = match reaction {
        Reaction::Status(code, None) => code.to_string(),
        Reaction::Status(code, Some(seconds)) => format!("{code}, Retry-After: {seconds}"),
        Reaction::Silence => "no answer".to_owned(),
    };
    let body = printed(&String::from_utf8_lossy(&arrival.body), BODY_CHARS_MAX);
    let line = printed(&arrival.line, LINE_CHARS_MAX);
    format!("{verdict}  {line}  {kind}  {id}  delivery {nth}  -> {answer}\n  {body}")
}
