//! Functions of the tests' own that run until the test lets them end, so that nothing is timed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use futurity::{Call, Config, JobError, Native, Queue, blocking, task};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::server::TestServer;

#[derive(Deserialize, JsonSchema)]
struct Held {
    #[serde(default)]
    value: Value,
}

/// Where tasks wait. Says when one has come, and lets them through one by one or all.
#[derive(Clone)]
pub struct Gate {
    way: Arc<Semaphore>,
    come: Arc<Semaphore>,
}

impl Gate {
    pub fn shut() -> Self {
        Self { way: Arc::new(Semaphore::new(0)), come: Arc::new(Semaphore::new(0)) }
    }

    /// Lets through whoever waits, now and later.
    pub fn open(&self) {
        self.way.close();
    }

    /// Lets one through.
    pub fn open_once(&self) {
        self.way.add_permits(1);
    }

    /// Waits until one more function stands before the gate: its job runs.
    pub async fn started(&self) {
        self.come.acquire().await.expect("it is never closed").forget();
    }

    /// Stands before the gate until it is let through.
    pub async fn pass(&self) {
        self.come.add_permits(1);
        if let Ok(permit) = self.way.acquire().await {
            permit.forget();
        }
    }

    /// A task that waits here, then returns its argument. It stops when it is asked to.
    pub fn hold(&self) -> Native {
        let gate = self.clone();
        task(move |call: Call, Held { value }: Held| {
            let gate = gate.clone();
            async move {
                tokio::select! {
                    () = gate.pass() => Ok(value),
                    () = call.cancelled() => {
                        Err(JobError::new("CancelledError", "asked to stop"))
                    }
                }
            }
        })
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

/// A default queue that runs one job at a time.
pub fn one_worker(mut config: Config) -> Config {
    config.queues.insert("default".to_owned(), Queue { max_workers: 1, ..Queue::default() });
    config
}

/// A server with one worker, and `hold` to keep it busy.
pub async fn one_worker_behind(gate: &Gate) -> TestServer {
    TestServer::with(one_worker, |builder| builder.function("hold", gate.hold())).await
}
