//! How long connecting may take: for each request its own time, though requests share their connections.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Layer, Service};

use super::sending::{Sending, within};

/// What the HTTP library passes on, from whose error [`TooSlow`] is found again.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Nothing was connected in this time: resolving, connecting and the TLS handshake together, without the wait for a turn.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", .0.as_secs_f64())]
pub(super) struct TooSlow(pub(super) Duration);

/// Puts a limit on whatever connects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit;

/// What connects, with a limit.
#[derive(Clone, Debug)]
pub(super) struct Limited<S> {
    connect: S,
}

impl<S> Layer<S> for Limit {
    type Service = Limited<S>;

    fn layer(&self, connect: S) -> Limited<S> {
        Limited { connect }
    }
}

impl<R, S> Service<R> for Limited<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connect.poll_ready(context)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let sending = Sending::current();
        sending.connects();
        let connecting = self.connect.call(to);
        Box::pin(async move {
            let time = sending.connect_within;
            match within(time, || sending.waited(), connecting).await {
                Some(connected) => connected,
                None => Err(BoxError::from(TooSlow(time))),
            }
        })
    }
}
