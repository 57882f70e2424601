//! Room in memory: a request waits a moment for it, and is else refused before anything has happened.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::response::Response;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;

use crate::domain::{Job, Json};
use crate::engine::{Budget, FREE_BYTES, Held};

use super::Desk;
use super::problem::{Code, Problem};

/// How long a request waits for room. Whoever is refused then comes again when others have gone.
const WITHIN: Duration = Duration::from_secs(5);

/// Marks an answer whose bytes are counted, or are no bytes of its own.
#[derive(Clone, Copy, Debug)]
struct IsCounted;

impl Desk {
    /// Room for what comes in.
    pub(super) async fn incoming(&self, bytes: usize) -> Result<Held, Problem> {
        self.room(&self.incoming, bytes).await
    }

    /// Room for an answer. Whoever cannot know how large it is takes room for the largest, and gives back the rest.
    pub(super) async fn outgoing(&self, bytes: usize) -> Result<Held, Problem> {
        self.room(self.engine.outgoing(), bytes).await
    }

    async fn room(&self, budget: &Budget, bytes: usize) -> Result<Held, Problem> {
        if let Some(held) = budget.try_take(bytes) {
            return Ok(held);
        }
        let within = WITHIN.min(self.config.limits.body);
        let room = tokio::time::timeout(within, budget.take(bytes)).await;
        room.map_err(|_elapsed| overloaded())
    }

    /// A job that was read, with room for so many bytes of it. If there is none now it is let go, and read again when
    /// there is: else all who wait for room would hold what they wait for.
    pub(super) async fn with_room(
        &self,
        job: Arc<Job>,
        bytes: usize,
    ) -> Result<(Arc<Job>, Held), Problem> {
        if let Some(held) = self.engine.outgoing().try_take(bytes) {
            return Ok((job, held));
        }
        let id = job.spec.id;
        drop(job);
        let held = self.outgoing(bytes).await?;
        Ok((self.engine.get(id).await?, held))
    }
}

/// There is no room in memory.
pub(super) fn overloaded() -> Problem {
    let detail = "other requests hold all the memory that bodies and answers may have";
    Problem::new(Code::Overloaded, detail).retry_after(1)
}

/// What a job takes as it is shown whole, about.
pub(super) fn bytes_of(job: &Job) -> usize {
    job.spec.arguments_bytes() + job.result.as_ref().map_or(0, Json::len)
}

/// The text of a value that others have as well, and is not copied.
struct Shared(Json);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_str().as_bytes()
    }
}

impl From<Shared> for Bytes {
    fn from(shared: Shared) -> Self {
        Self::copy_from_slice(shared.as_ref())
    }
}

/// A value as the body of an answer.
pub(super) fn value(json: Json, held: Held) -> Body {
    held.counted(Shared(json)).into()
}

/// An answer with a whole body, for which room is held until it is sent.
pub(super) fn counted(mut answer: Response, held: Held) -> Response {
    answer.extensions_mut().insert(IsCounted);
    answer.map(|body| with(body, held))
}

/// An answer whose bytes are there in any case.
pub(super) fn of_our_own(mut answer: Response) -> Response {
    answer.extensions_mut().insert(IsCounted);
    answer
}

/// Counts a whole answer for which no room was taken before. One to a request that may have changed something is sent in
/// any case: it says what happened.
///
/// # Errors
/// There is no room, and nothing has happened.
pub(super) fn count(answer: Response, budget: &Budget, is_safe: bool) -> Result<Response, Problem> {
    let bytes = answer.body().size_hint().exact().unwrap_or_default();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes <= FREE_BYTES || answer.extensions().get::<IsCounted>().is_some() {
        return Ok(answer);
    }
    match budget.try_take(bytes) {
        Some(held) => Ok(answer.map(|body| with(body, held))),
        None if is_safe => Err(overloaded()),
        None => Ok(answer),
    }
}

fn with(body: Body, held: Held) -> Body {
    if body.size_hint().exact().is_none() {
        return body;
    }
    // What is whole is there at once, in one piece.
    match body.collect().now_or_never() {
        Some(Ok(whole)) => held.counted(whole.to_bytes()).into(),
        Some(Err(_)) | None => Body::empty(),
    }
}
