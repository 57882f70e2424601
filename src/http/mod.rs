//! The top floor: HTTP, the only axum and the only status codes. This file is the table of routes.

mod access_log;
mod admit;
mod answer;
mod as_completed;
mod batch_body;
mod batch_results;
mod batches;
mod beats;
mod body;
mod callback_body;
mod callbacks;
mod cancel_many;
mod clocks;
mod conditional;
mod connection;
mod events;
mod extract;
mod fields;
mod forget;
mod function_body;
mod functions;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod idempotency;
mod job_body;
mod job_events;
mod jobs;
mod last_event_id;
mod leave;
mod limits;
mod line_reader;
mod lines;
mod linger;
mod list;
mod list_header;
mod live;
mod long_page;
mod manual;
mod map;
mod members;
mod moment;
mod origin;
mod own_origin;
mod preferences;
mod print;
mod problem;
mod proxies;
mod queues;
mod receiver;
mod results_max;
mod retry;
mod room;
mod serve;
mod server;
mod strangers;
mod streamed;
mod strict;
mod submission;
mod submit_lines;
mod wait;
mod wait_many;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;

use crate::engine::keys::Door;
use crate::engine::{Budget, Engine};

pub use batch_body::batch_webhook_event;
pub use body::webhook_event;
pub use events::change_event;
use live::Live;

pub use limits::Limits;
pub use proxies::{InvalidProxies, Proxies};
pub use receiver::{Arrival, Reaction, receive};
pub use serve::{listen, serve};

/// What the front desk needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The longest wait of one request.
    pub wait_max: Duration,
    /// Names that requests may call the server by, besides localhost and loopback addresses.
    pub hosts: Vec<String>,
    /// Whether it may be said that nobody needs a key; never where others than this machine reach the server.
    pub open_without_keys: bool,
    /// Whether each request is logged.
    pub access_log: bool,
    /// What stands before the server.
    pub proxies: Proxies,
    /// What connections and bodies may take.
    pub limits: Limits,
}

/// What every handler sees.
#[derive(Debug)]
struct Desk {
    engine: Engine,
    door: Door,
    config: Config,
    /// How long a connection may be idle, as a header says it.
    idle: HeaderValue,
    live: Live,
    /// Room for what comes in.
    incoming: Budget,
    /// Room for what is read for those who ask, until they have taken it.
    outgoing: Budget,
    /// Turns of batches: each may have thousands of times what another request has in memory.
    batches: Semaphore,
}

/// The front desk and the routes behind it.
#[derive(Clone, Debug)]
pub struct App {
    desk: Arc<Desk>,
    routes: Router,
}

impl App {
    /// All routes.
    #[must_use]
    pub fn new(engine: Engine, door: Door, config: Config) -> Self {
        config.proxies.show();
        let batches = Semaphore::new(batches::AT_ONCE_MAX);
        let live = Live::new(&config);
        let incoming = Budget::new(config.limits.incoming_bytes);
        let outgoing = Budget::new(config.limits.outgoing_bytes);
        let idle = format!("timeout={}", config.limits.idle.as_secs());
        let idle = HeaderValue::from_str(&idle).unwrap_or(HeaderValue::from_static("timeout=0"));
        let desk = Arc::new(Desk { engine, door, config, idle, live, incoming, outgoing, batches });
        let routes = Router::new()
            .route("/v1/jobs", post(jobs::submit).get(list::list))
            .route("/v1/jobs/lines", post(submit_lines::lines))
            .route("/v1/jobs/wait", post(wait_many::wait))
            .route("/v1/jobs/as-completed", post(as_completed::as_completed))
            .route("/v1/jobs/cancel", post(cancel_many::cancel))
            .route("/v1/jobs/{id}", get(conditional::get).delete(forget::job))
            .route("/v1/jobs/{id}/result", get(jobs::result).put(manual::set_result))
            .route("/v1/jobs/{id}/exception", get(jobs::exception).put(manual::set_exception))
            .route("/v1/jobs/{id}/cancel", post(jobs::cancel))
            .route("/v1/jobs/{id}/retry", post(retry::retry))
            .route("/v1/jobs/{id}/log", get(job_events::log))
            .route("/v1/jobs/{id}/events", get(job_events::follow))
            .route("/v1/jobs/{id}/callbacks", post(callbacks::add).get(callbacks::of_job))
            .route("/v1/batches", post(batches::submit).get(batches::list))
            .route("/v1/batches/{id}", get(batches::get))
            .route("/v1/batches/{id}/results", get(batch_results::results))
            .route("/v1/batches/{id}/cancel", post(batches::cancel))
            .route("/v1/batches/{id}/callbacks", post(batches::callback).get(callbacks::of_batch))
            .route("/v1/map", post(map::map))
            .route("/v1/callbacks", get(callbacks::list))
            .route("/v1/callbacks/redeliver", post(callbacks::redeliver_many))
            .route("/v1/callbacks/{id}", delete(callbacks::delete))
            .route("/v1/callbacks/{id}/redeliver", post(callbacks::redeliver))
            .route("/v1/events", get(events::follow))
            .route("/v1/functions", get(functions::list))
            .route("/v1/functions/{name}", get(functions::get))
            .route("/v1/queues", get(queues::list))
            .route("/v1/queues/{name}", get(queues::get).put(queues::put))
            .route("/v1/queues/{name}/pause", post(queues::pause))
            .route("/v1/queues/{name}/resume", post(queues::resume))
            .route("/v1/queues/{name}/shutdown", post(queues::shutdown))
            .route("/v1/server", get(server::get))
            .route("/v1/workers/{name}/restart", post(workers::restart))
            .route("/livez", get(health::livez))
            .route("/readyz", get(health::readyz))
            .route("/openapi.yaml", get(health::openapi))
            .route("/problems/{code}", get(problem::explain))
            .fallback(problem::no_route)
            // Together, for a layer of the router costs each request an allocation.
            .layer((
                CatchPanicLayer::custom(problem::panicked),
                CsrfLayer::new().with_rejection_response(problem::cross_origin),
            ))
            .with_state(Arc::clone(&desk));
        Self { desk, routes }
    }
}
