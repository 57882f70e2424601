//! Functions that run until the test lets them end, so that no test depends on time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use futurity::{Call, Config, JobError, Native, Queue, blocking, task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::server::TestServer;

/// The arguments of a function that takes none.
#[derive(Deserialize, JsonSchema)]
pub struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Held {
    #[serde(default)]
    value: Value,
}

/// Where tasks wait. Says when one has come, and lets them through one by one or all. It opens when its last copy
/// is dropped, so that a test that fails leaves nothing running.
#[derive(Clone)]
pub struct Gate(Arc<OpensAtTheEnd>);

struct OpensAtTheEnd(Arc<Doors>);

struct Doors {
    way: Semaphore,
    come: Semaphore,
}

impl Gate {
    pub fn shut() -> Self {
        let doors = Doors { way: Semaphore::new(0), come: Semaphore::new(0) };
        Self(Arc::new(OpensAtTheEnd(Arc::new(doors))))
    }

    /// A gate, and a task that waits there and then returns "open". The task does not hear that it is asked to stop.
    pub fn task() -> (Self, Native) {
        let gate = Self::shut();
        let doors = Arc::clone(gate.doors());
        let wait = move |_call: Call, _: Nothing| {
            let doors = Arc::clone(&doors);
            async move {
                doors.pass().await;
                Ok::<_, JobError>("open")
            }
        };
        (gate, task(wait))
    }

    /// A server with such a task as `gate`, whose queue `one` runs one job at a time. A wait that is missed
    /// ends at the limit of the client, not at that of the server.
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

    /// A task that waits here, then returns its argument. It stops when it is asked to.
    pub fn hold(&self) -> Native {
        let doors = Arc::clone(self.doors());
        task(move |call: Call, Held { value }: Held| {
            let doors = Arc::clone(&doors);
            async move {
                tokio::select! {
                    () = doors.pass() => Ok(value),
                    () = call.cancelled() => {
                        Err(JobError::new("CancelledError", "asked to stop"))
                    }
                }
            }
        })
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        self.doors().way.close();
    }

    /// Lets one through.
    pub fn open_once(&self) {
        self.doors().way.add_permits(1);
    }

    /// Waits until one more function stands before the gate: its job runs.
    pub async fn started(&self) {
        self.doors().come.acquire().await.expect("it is never closed").forget();
    }

    /// Stands before the gate until it is let through.
    pub async fn pass(&self) {
        self.doors().pass().await;
    }

    fn doors(&self) -> &Arc<Doors> {
        &self.0.0
    }
}

impl Doors {
    async fn pass(&self) {
        self.come.add_permits(1);
        if let Ok(permit) = self.way.acquire().await {
            permit.forget();
        }
    }
}

impl Drop for OpensAtTheEnd {
    fn drop(&mut self) {
        self.0.way.close();
    }
}

/// Where a thread waits, deaf to everything but the test.
#[derive(Clone, Default)]
pub struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    /// Lets go whoever waits, now and later.
    pub fn release(&self) {
        let (released, changed) = &*self.0;
        *released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// A blocking function that waits here, ignores its cancellation, and returns its argument.
    pub fn stubborn(&self) -> Native {
        let latch = self.clone();
        blocking(move |_call: &Call, Held { value }: Held| {
            latch.wait();
            Ok::<_, JobError>(value)
        })
    }

    fn wait(&self) {
        let (released, changed) = &*self.0;
        let mut is_released = released.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_released {
            is_released = changed.wait(is_released).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A task that returns a value when it is asked to stop.
pub fn returns_when_asked_to_stop() -> Native {
    task(|call: Call, _: Nothing| async move {
        call.cancelled().await;
        Ok::<_, JobError>("all the same")
    })
}

/// A default queue that runs one job at a time.
pub fn one_worker(mut config: Config) -> Config {
    config.queues.insert("default".to_owned(), Queue { max_workers: 1, ..Queue::default() });
    config
}

/// A server with one worker, and `hold` to keep it busy.
pub async fn one_worker_behind(gate: &Gate) -> TestServer {
    TestServer::with(one_worker, |builder| builder.function("hold", gate.hold())).await
}
