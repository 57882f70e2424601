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
use tokio_util::sync::CancellationToken;

use crate::domain::{Job, Json};
use crate::engine::{FREE_BYTES, Held, Share, Who};

use super::Desk;
use super::problem::{Code, Problem};

/// How long a request waits for room, and how long what holds room may take to come while others wait for it. Whoever is
/// refused then comes again when others have gone.
const WITHIN: Duration = Duration::from_secs(5);

/// After this a request that was refused may come again.
const REFUSED_FOR_SECONDS: u16 = 1;
/// What a body that is counted holds beside its bytes: what hyper has read ahead of it, the piece that is looked at, and
/// the request itself; and as much again for one that waits with nothing counted. So of 16,384 a few thousand have begun.
const BESIDE_BYTES: usize = 40 * 1_024;
/// The largest first piece of a body: hyper's buffer, as it is at first.
const PIECE_BYTES: usize = 8 * 1_024;

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

    /// Says in the log when requests begin to be refused for want of room, and when that is over; until `end`.
    pub(super) async fn tell_refusals(&self, end: CancellationToken) {
        // Whoever was refused and comes again waits so long before it is refused again.
        let quiet = 2 * self.room_within() + Duration::from_secs(REFUSED_FOR_SECONDS.into());
        tokio::join!(
            self.incoming.tell_refusals("incoming_bytes", quiet, end.cancelled()),
            self.outgoing.tell_refusals("outgoing_bytes", quiet, end.cancelled()),
        );
    }

    /// Waits until there is room for the first piece of a body that may have so many bytes, and takes none of it: what does not
    /// come holds nothing. Whoever did not wait here would wait with its first piece in its hands, and thousands of those are many.
    pub(super) async fn look(&self, share: &Share, first: usize) -> Result<(), Problem> {
        self.room(share, first).await.map(drop)
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
        room.map_err(|_elapsed| overloaded(share))
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
                return Err(overloaded(share));
            }
            // Whoever begins to wait now is not refused before the next look.
            *look = Instant::now() + self.within / 2;
        }
    }
}

/// What is counted of a body of which so much is held.
pub(super) fn counted_in(bytes: usize) -> usize {
    if bytes <= FREE_BYTES { 0 } else { bytes + BESIDE_BYTES }
}

/// What the first piece of a body may count for, if that is held so many times. None if the body is small: then it never
/// counts.
pub(super) fn first_piece(body: &Body, times: usize) -> Option<usize> {
    let most = body.size_hint().upper().and_then(|most| usize::try_from(most).ok());
    let most = most.unwrap_or(usize::MAX);
    (most > FREE_BYTES).then(|| counted_in(times * most.min(PIECE_BYTES)))
}

/// There is no room in memory: nothing has happened, and the log counts it.
pub(super) fn overloaded(share: &Share) -> Problem {
    share.has_refused();
    let detail = "other requests hold all the memory that bodies and answers of this key may have";
    Problem::new(Code::Overloaded, detail).retry_after(REFUSED_FOR_SECONDS)
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
        None if is_safe => Err(overloaded(&share)),
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
    fn a_body_that_counts_counts_for_what_is_held_beside_it() {
        assert_eq!(counted_in(FREE_BYTES), 0);
        assert_eq!(counted_in(FREE_BYTES + 1), FREE_BYTES + 1 + BESIDE_BYTES);
        let announced = |bytes: usize| first_piece(&Body::from(vec![b' '; bytes]), 2);
        assert_eq!((announced(0), announced(FREE_BYTES)), (None, None), "it stays small");
        assert_eq!(announced(5_000), Some(10_000 + BESIDE_BYTES));
        let first = Some(2 * PIECE_BYTES + BESIDE_BYTES);
        assert_eq!(announced(1_000_000), first, "and no more of what is announced");
        let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("one")]);
        assert_eq!(first_piece(&Body::from_stream(pieces), 2), first, "nobody knows how large");
    }

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
