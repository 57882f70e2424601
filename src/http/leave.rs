//! A request is under way for as long as what allowed it holds: its key is neither gone nor over, and still has the scope.
//! Both ways: whatever a request does, what it reads and what it answers, it does here.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream as _};
use hyper::body::{Frame, SizeHint};

use crate::engine::keys::{Leave, Need};

use super::Desk;
use super::problem::{Code, Problem};

/// What a request has begun to change is brought to its end within this.
const CHANGED_WITHIN: Duration = Duration::from_secs(5);

/// What allowed a request.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The id of the key; none while nobody needs one.
    pub(super) key: Option<String>,
    needed: Need,
    /// Whether somebody still reads its body.
    still_comes: AtomicBool,
}

impl Admitted {
    pub(super) fn new(key: Option<String>, needed: Need) -> Arc<Self> {
        Arc::new(Self { key, needed, still_comes: AtomicBool::new(false) })
    }

    /// The same request, of which it is known whether it has come in as a whole.
    pub(super) fn follow(self: &Arc<Self>, request: Request) -> Request {
        if self.needed.only_reads() || request.body().is_end_stream() {
            return request;
        }
        self.still_comes.store(true, Ordering::Relaxed);
        let admitted = Arc::clone(self);
        request.map(|body| Body::new(Coming { body, admitted }))
    }

    /// Has the request answered, as long as it may be.
    pub(super) async fn hold(
        &self,
        desk: &Arc<Desk>,
        call: impl Future<Output = Response>,
    ) -> Response {
        let mut call = pin!(call);
        let answer = tokio::select! {
            biased;
            answer = &mut call => answer,
            () = self.leave(desk).ended() => return self.too_late(call).await,
        };
        if answer.body().size_hint().exact().is_some() {
            return answer;
        }
        let leave = self.leave(desk);
        answer.map(|body| as_long_as(leave, body))
    }

    fn leave(&self, desk: &Desk) -> Leave {
        desk.door.leave(self.key.clone(), self.needed)
    }

    /// It has no answer yet. A request that reads, or still comes in, has done nothing; what another one changes may be half
    /// done, and whether it is, its client should know.
    async fn too_late(&self, call: Pin<&mut impl Future<Output = Response>>) -> Response {
        let ended = "the key was revoked, has expired, or allows something else now";
        if self.needed.only_reads() || self.still_comes.load(Ordering::Relaxed) {
            return unauthenticated(ended).into_response();
        }
        match tokio::time::timeout(CHANGED_WITHIN, call).await {
            Ok(answer) if answer.body().size_hint().exact().is_some() && !is_refusal(&answer) => {
                answer
            }
            Ok(_refused_or_a_stream) => unauthenticated(ended).into_response(),
            Err(_elapsed) => {
                let waited = format!("{ended}; what was asked for may be done or not");
                unauthenticated(waited).into_response()
            }
        }
    }
}

/// The body of a request.
struct Coming {
    body: Body,
    admitted: Arc<Admitted>,
}

impl HttpBody for Coming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.admitted.still_comes.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.admitted.still_comes.store(false, Ordering::Relaxed);
    }
}

fn is_refusal(answer: &Response) -> bool {
    answer.status().is_client_error()
}

/// The answer to who may not be here.
pub(super) fn unauthenticated(detail: impl Into<String>) -> Problem {
    let bearer = axum::http::HeaderValue::from_static("Bearer");
    let problem = Problem::new(Code::Unauthenticated, detail);
    problem.with_header(axum::http::header::WWW_AUTHENTICATE, bearer)
}

/// The same body, which breaks off when the leave ends, whether or not there is a next piece. What the request still sends is
/// read on behalf of this body, so it is read no more.
fn as_long_as(leave: Leave, body: Body) -> Body {
    let mut pieces = Box::pin(body.into_data_stream());
    let mut ended = Some(Box::pin(leave.ended()));
    let next = move |context: &mut Context<'_>| -> Poll<Option<Result<Bytes, axum::Error>>> {
        let Some(leave) = &mut ended else { return Poll::Ready(None) };
        if leave.as_mut().poll(context).is_ready() {
            ended = None;
            let broken_off = axum::Error::new("the key does not hold any more");
            return Poll::Ready(Some(Err(broken_off)));
        }
        pieces.as_mut().poll_next(context)
    };
    Body::from_stream(stream::poll_fn(next))
}
