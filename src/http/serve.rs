//! The accept loop: ours, because time-outs of the header need a timer that `axum::serve` never sets.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::access_log::Peer;
use super::connection::{Phase, Timed, UnderWay};

/// After an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Above what the front desk bears, so that it can answer in its own words. So are the 100 header fields that hyper takes where
/// nothing else is said; with another number it would clear room for them at each request.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Connections that are still busy when the server ends get this long.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Serves `app` on `listener` until `shutdown`, then lets every request that is under way end.
pub async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(app.desk.config.limits.connections));
    let connections = TaskTracker::new();
    loop {
        let (slot, stream, peer) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        let (app, shutdown) = (app.clone(), shutdown.clone());
        connections.spawn(async move {
            connection(stream, peer, app, shutdown).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(FINISH_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

/// The next connection, when there is a slot for it: until then it waits in the kernel's own queue.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, TcpStream, Peer)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((slot, stream, Peer(address)))
}

async fn connection(stream: TcpStream, peer: Peer, app: App, shutdown: CancellationToken) {
    // Answers are small and whole: there is nothing to wait for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let phase = Phase::default();
    let limits = app.desk.config.limits;
    let stream = TokioIo::new(Timed::new(stream, phase.clone(), &limits));
    let service = Requests { app, phase, peer };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(BUFFER_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Hands each request to the app, and notes whether one is under way.
#[derive(Clone)]
struct Requests {
    app: App,
    phase: Phase,
    peer: Peer,
}

type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, std::convert::Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let (app, peer) = (self.app.clone(), self.peer);
        let request_phase = self.phase.begin_request();
        Box::pin(async move {
            let mut request = request.map(Body::new);
            if app.desk.config.access_log {
                request.extensions_mut().insert(peer);
            }
            let answer = app.answer(request).await;
            Ok(answer.map(|body| held(body, request_phase)))
        })
    }
}

/// While a stream is answered, the request's own body may still come in: the request ends with its answer.
fn held(body: Body, under_way: UnderWay) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::new(body.map_frame(move |frame| {
        under_way.goes_on();
        frame
    }))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_request_lasts_as_long_as_its_stream_and_no_longer_than_a_whole_answer() {
        let phase = Phase::default();
        let whole = held(Body::from("whole"), phase.begin_request());
        assert!(!phase.in_request());
        drop(whole);
        let lines = stream::iter(["a", "b"].map(Ok::<_, std::convert::Infallible>));
        let mut lines = held(Body::from_stream(lines), phase.begin_request());
        lines.frame().await.expect("a frame").expect("a line");
        assert!(phase.in_request(), "the client may still be sending");
        drop(lines);
        assert!(!phase.in_request());
    }
}
