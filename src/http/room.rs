//! Room in memory: a request waits a moment for it, and is else refused before anything has happened.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::domain::{Job, Json};
use crate::engine::{FREE_BYTES, Held, Share, Who};

use super::Desk;
use super::problem::{Code, Problem};

/// How long a request waits for room, and how long what holds room may take to come while others wait for it. Whoever is
/// refused then comes again when others have gone.
const WITHIN: Duration = Duration::from_secs(5);

/// Marks an answer whose bytes are counted, or are no bytes of its own.
#[derive(Clone, Copy, Debug)]
struct IsCounted;

/// Whose request it is; what nobody was let in with is of strangers.
pub(super) fn who_of(extensions: &Extensions) -> Who {
    extensions.get::<Who>().cloned().unwrap_or(Who::Strangers)
}

/// What whoever asks may have of the room for answers.
#[derive(Debug)]
pub(super) struct Outgoing(pub(super) Share);

impl FromRequestParts<Arc<Desk>> for Outgoing {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        desk: &Arc<Desk>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self(desk.outgoing.share(who_of(&parts.extensions))))
    }
}

impl Desk {
    /// How long a request waits for room.
    pub(super) fn room_within(&self) -> Duration {
        // Less than a whole body may take, or that would be over first.
        WITHIN.min(self.config.limits.body / 2)
    }

    /// Room for an answer. Whoever cannot know how large it is takes room for the largest, and gives back the rest.
    pub(super) async fn room(&self, share: &Share, bytes: usize) -> Result<Held, Problem> {
        let mut held = Held::default();
        self.grow(share, &mut held, bytes).await?;
        Ok(held)
    }

    /// Makes what is held as much as this.
    pub(super) async fn grow(
        &self,
        share: &Share,
        held: &mut Held,
        bytes: usize,
    ) -> Result<(), Problem> {
        if share.try_grow(held, bytes) {
            return Ok(());
        }
        let room = tokio::time::timeout(self.room_within(), share.grow(held, bytes)).await;
        room.map_err(|_elapsed| overloaded())
    }

    /// A job that was read, with room for so many bytes of it. If there is none now it is let go, and read again when
    /// there is: else all who wait for room would hold what they wait for.
    pub(super) async fn with_room(
        &self,
        share: &Share,
        job: Arc<Job>,
        bytes: usize,
    ) -> Result<(Arc<Job>, Held), Problem> {
        if let Some(held) = share.try_take(bytes) {
            return Ok((job, held));
        }
        let id = job.spec.id;
        drop(job);
        let held = self.room(share, bytes).await?;
        Ok((self.engine.get(id).await?, held))
    }
}

/// The time for what comes in and holds room: as long as it may take while nobody else needs that.
#[derive(Debug)]
pub(super) struct Pace {
    within: Duration,
    next_look: Option<Instant>,
}

impl Pace {
    pub(super) fn new(within: Duration) -> Self {
        Self { within, next_look: None }
    }

    /// It holds room from now on, or none any more.
    pub(super) fn holds(&mut self, holds: bool) {
        match holds {
            true => {
                self.next_look.get_or_insert_with(|| Instant::now() + self.within);
            }
            false => self.next_look = None,
        }
    }

    /// It was held back, and could not come meanwhile.
    pub(super) fn begins_again(&mut self) {
        self.next_look = None;
    }

    /// Waits for the next piece. However it drips: what is not whole in time is refused when others wait for its room.
    pub(super) async fn next<T>(
        &mut self,
        share: &Share,
        next: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let Some(look) = &mut self.next_look else { return Ok(next.await) };
        let mut next = pin!(next);
        loop {
            tokio::select! {
                biased;
                next = &mut next => return Ok(next),
                () = tokio::time::sleep_until(*look) => {}
            }
            if share.is_short() {
                return Err(overloaded());
            }
            // Whoever begins to wait now is not refused before the next look.
            *look = Instant::now() + self.within / 2;
        }
    }
}

/// There is no room in memory.
pub(super) fn overloaded() -> Problem {
    let detail = "other requests hold all the memory that bodies and answers of this key may have";
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
/// any case, and is counted too: it says what happened, and others wait for it.
///
/// # Errors
/// There is no room, and nothing has happened.
pub(super) fn count(
    answer: Response,
    share: impl FnOnce() -> Share,
    is_safe: bool,
) -> Result<Response, Problem> {
    let bytes = answer.body().size_hint().exact().unwrap_or_default();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if bytes <= FREE_BYTES || answer.extensions().get::<IsCounted>().is_some() {
        return Ok(answer);
    }
    let share = share();
    match share.try_take(bytes) {
        Some(held) => Ok(answer.map(|body| with(body, held))),
        None if is_safe => Err(overloaded()),
        None => Ok(answer.map(|body| with(body, share.owe(bytes)))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Budget;

    #[test]
    fn an_answer_that_must_be_sent_is_counted_also_where_there_is_no_room() {
        const ALL: usize = 64 * 1_024;
        let budget = Budget::new(ALL);
        let share = || budget.share(Who::Strangers);
        let answer = |bytes: usize| Response::new(Body::from(vec![b'x'; bytes]));
        let read = count(answer(ALL / 2), share, true).expect("room");
        assert!(count(answer(ALL / 4), share, true).is_err(), "nothing has happened");
        let written = count(answer(ALL), share, false).expect("it is told");
        assert_eq!(written.body().size_hint().exact(), Some(ALL as u64));
        drop(read);
        assert!(count(answer(ALL / 4), share, true).is_err(), "what was sent is counted");
        drop(written);
        assert!(count(answer(ALL / 2), share, true).is_ok());
        assert!(count(of_our_own(answer(2 * ALL)), share, true).is_ok());
    }
}
