//! How long connecting may take: for each request its own time, though requests share their connections.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Layer, Service};

/// What the HTTP library passes on, from whose error [`TooSlow`] is found again.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// For a connection that is made ahead of any request.
const OTHERWISE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The time of the request that this task sends. The library makes a connection in the task of the request
    /// that first needs it, and says nothing of that request.
    static WITHIN: Duration;
}

/// Nothing was connected in this time: resolving, connecting and the TLS handshake together.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", .0.as_secs_f64())]
pub(super) struct TooSlow(pub(super) Duration);

/// Does `exchange`; a connection that it makes is ready `within` that time.
pub(super) async fn within<T>(time: Duration, exchange: impl Future<Output = T>) -> T {
    WITHIN.scope(time, exchange).await
}

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
        let time = WITHIN.try_with(|time| *time).unwrap_or(OTHERWISE);
        let connecting = self.connect.call(to);
        Box::pin(async move {
            match tokio::time::timeout(time, connecting).await {
                Ok(connected) => connected,
                Err(_elapsed) => Err(BoxError::from(TooSlow(time))),
            }
        })
    }
}
