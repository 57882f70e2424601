//! Functions that a test holds by the hand.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use futurity::{Call, Config, JobError, Native, Queue, blocking, task};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::server::TestServer;

#[derive(Deserialize, JsonSchema)]
pub struct Nothing {}

/// Holds a function until the test opens it. Dropping it opens it too.
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    /// A task that returns "open" when the gate is, and hears nothing else.
    pub fn task() -> (Self, Native) {
        let (open, opened) = watch::channel(false);
        let wait = move |_call: Call, _: Nothing| {
            let mut opened = opened.clone();
            async move {
                // A sender that is gone opens as well.
                drop(opened.wait_for(|open| *open).await);
                Ok::<_, JobError>("open")
            }
        };
        (Self { open }, task(wait))
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// A server with this function as `gate`, whose queue `one` runs one job at a time. A wait that is
    /// missed ends at the limit of the client, not at that of the server.
    pub async fn server() -> (TestServer, Self) {
        let (gate, function) = Self::task();
        let one = Queue { max_workers: 1, max_pending: 20_000 };
        let configure = |config: Config| Config {
            queues: [("one".to_owned(), one)].into(),
            wait_max: Duration::from_secs(600),
            ..config
        };
        let it = TestServer::with(configure, |builder| builder.function("gate", function)).await;
        (it, gate)
    }
}

/// A function on a thread that hears nothing, until its gate is dropped.
pub struct ThreadGate {
    _open: mpsc::Sender<()>,
}

impl ThreadGate {
    pub fn blocking() -> (Self, Native) {
        let (open, opened) = mpsc::channel::<()>();
        let opened = Arc::new(Mutex::new(opened));
        let wait = move |_: &Call, _: Nothing| {
            let opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
            // Nothing is ever sent: it ends when the gate is gone.
            assert!(opened.recv().is_err(), "nothing is ever sent");
            Ok::<_, JobError>("open")
        };
        (Self { _open: open }, blocking(wait))
    }
}

/// Returns a value when it is asked to stop.
pub fn stubborn() -> Native {
    task(|call: Call, _: Nothing| async move {
        call.cancelled().await;
        Ok::<_, JobError>("all the same")
    })
}
