//! The accept loop: ours, because time-outs of the header need a timer that `axum::serve` never sets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::{set_tcp_keepidle, set_tcp_keepintvl, set_tcp_user_timeout};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::access_log::Peer;
use super::connection::{Phase, Timed, UnderWay};
use super::linger::{Tracked, linger};
use super::strangers::{Newcomer, Strangers};

/// After an accept that failed for want of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Above what the front desk bears, so that it can answer in its own words. So are the 100 header fields that hyper takes where
/// nothing else is said; with another number it would clear room for them at each request.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Connections that may read much at once; whoever comes while they are there has small buffers, so that thousands that
/// are idle do not keep large ones.
const ROOMY_MAX: usize = 256;
/// Connections that wait in the kernel's own queue.
const BACKLOG: u32 = 1_024;
/// A peer that says nothing for so long is asked whether it is there, and again.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
/// One that does not answer, or does not take what was sent, for so long is gone.
const UNHEARD_WITHIN: Duration = Duration::from_secs(60);
/// Whoever comes has so long to say who it is, before it makes room for another.
const STRANGE_FOR: Duration = Duration::from_secs(1);
/// Between two warnings of the same kind.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Connections that are still busy when the server ends get this long.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Listens. Accepted sockets have the options of the one that listens, whenever they come.
///
/// # Errors
/// The address cannot be had.
pub fn listen(address: SocketAddr, stall: Duration) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_keepalive(true)?;
    set_tcp_keepidle(&socket, KEEPALIVE_AFTER)?;
    set_tcp_keepintvl(&socket, KEEPALIVE_EVERY)?;
    // It also ends those that take nothing, which an operator may give more time.
    let within = UNHEARD_WITHIN.max(stall).as_millis();
    set_tcp_user_timeout(&socket, u32::try_from(within).unwrap_or(u32::MAX))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `app` on `listener` until `shutdown`, then lets every request that is under way end.
pub async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) {
    let limits = app.desk.config.limits;
    let mut entrance = Entrance::new(listener, limits.connections);
    let connections = TaskTracker::new();
    let (desk, until) = (Arc::clone(&app.desk), shutdown.clone());
    connections.spawn(async move { desk.tell_refusals(until).await });
    loop {
        let (places, stream, address) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = entrance.accept() => accepted,
        };
        let gone = shutdown.child_token();
        let newcomer = entrance.strangers.enter(gone.clone());
        let (app, shutdown) = (app.clone(), shutdown.clone());
        let roomy = places.roomy.is_some();
        connections.spawn(async move {
            let phase = Phase::default();
            let stream = Timed::new(stream, phase.clone(), &app.desk, (roomy, newcomer.clone()));
            let asked = gone.cancelled().map(|()| shutdown.is_cancelled());
            let requests = Requests { app, phase, peer: Peer(address), newcomer };
            connection(stream, requests, limits.idle, asked).await;
            drop(places);
        });
    }
    let Entrance { listener, .. } = entrance;
    drop(listener);
    connections.close();
    if tokio::time::timeout(FINISH_WITHIN, connections.wait()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

/// Where connections come in.
struct Entrance {
    listener: TcpListener,
    places: Arc<Semaphore>,
    roomy: Arc<Semaphore>,
    strangers: Strangers,
    failed: Option<(Instant, u64)>,
}

/// The places of one connection.
struct Places {
    _place: OwnedSemaphorePermit,
    roomy: Option<OwnedSemaphorePermit>,
}

impl Entrance {
    fn new(listener: TcpListener, connections: usize) -> Self {
        let places = Arc::new(Semaphore::new(connections));
        let roomy = Arc::new(Semaphore::new(ROOMY_MAX));
        Self { listener, places, roomy, strangers: Strangers::default(), failed: None }
    }

    /// The next connection, when there is a place for it: until then others wait in the kernel's own queue.
    async fn accept(&mut self) -> (Places, TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if let Some(place) = self.place().await {
                        let roomy = Arc::clone(&self.roomy).try_acquire_owned().ok();
                        return (Places { _place: place, roomy }, stream, address);
                    }
                }
                Err(error) => {
                    self.has_failed(&error);
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let mut free = pin!(Arc::clone(&self.places).acquire_owned());
        tokio::select! {
            biased;
            place = free.as_mut() => return place.ok(),
            () = self.strangers.make_room(STRANGE_FOR) => {}
        }
        free.await.ok()
    }

    /// It may fail ten times a second for hours.
    fn has_failed(&mut self, error: &io::Error) {
        let now = Instant::now();
        let (since, times) = self.failed.unwrap_or((now, 0));
        if times == 0 || now - since >= WARN_EVERY {
            tracing::warn!(%error, times = times.max(1), "connections could not be accepted");
            self.failed = Some((now, 1));
        } else {
            self.failed = Some((since, times + 1));
        }
    }
}

/// Serves one connection until it ends, or until it is `asked` to: at the end of the server after the answer that is under way,
/// else at once.
async fn connection(
    stream: Timed,
    service: Requests,
    idle: Duration,
    asked: impl Future<Output = bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(BUFFER_BYTES_MAX);
    let phase = service.phase.clone();
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let mut asked = pin!(asked);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        is_the_end = &mut asked => {
            if !is_the_end {
                return;
            }
            Pin::new(&mut connection).graceful_shutdown();
            return over(connection.await);
        }
    };
    let stream = connection.into_parts().io.into_inner().into_stream();
    if ended.is_ok() && phase.has_unread() {
        tokio::select! {
            () = linger(stream) => {}
            _is_the_end = asked => {}
        }
    }
    over(ended);
}

fn over(ended: hyper::Result<()>) {
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
    newcomer: Newcomer,
}

type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, std::convert::Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let (app, peer, newcomer) = (self.app.clone(), self.peer, self.newcomer.clone());
        let (phase, request_phase) = (self.phase.clone(), self.phase.begin_request());
        Box::pin(async move {
            let mut request = request.map(|body| Body::new(Tracked::new(body, phase)));
            if app.desk.config.access_log {
                request.extensions_mut().insert(peer);
            }
            let answer = app.answer(request, &newcomer).await;
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
