//! Renewal: the processes of a worker give way to new ones, each between two calls, and only one at a time.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::domain::FunctionName;

use super::protocol::Announced;

/// What a worker has announced, by name.
pub(super) type Functions = Arc<BTreeMap<FunctionName, Announced>>;

/// Held by a process that gives way, and then by the one in its place until it is ready: code that cannot start takes one
/// process, and the others stay.
pub(super) type RenewalPermit = OwnedSemaphorePermit;

/// How often the processes were to be renewed, and what they can do since then.
#[derive(Debug)]
pub(super) struct Renewal {
    asked: watch::Sender<u64>,
    turn: Arc<Semaphore>,
    /// What the first process has announced since it was last asked.
    announced: RwLock<(u64, Option<Functions>)>,
}

impl Default for Renewal {
    fn default() -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { asked: watch::Sender::new(0), turn, announced: RwLock::default() }
    }
}

impl Renewal {
    /// From now on each process gives way.
    pub(super) fn ask(&self) {
        self.asked.send_modify(|times| *times += 1);
    }

    /// That of a process that is started now.
    pub(super) fn generation(&self) -> u64 {
        *self.asked.borrow()
    }

    /// Ends when a process of this generation is to give way, and it is its turn.
    pub(super) async fn due(&self, generation: u64) -> RenewalPermit {
        let mut asked = self.asked.subscribe();
        if asked.wait_for(|times| *times > generation).await.is_err() {
            return pending().await;
        }
        match Arc::clone(&self.turn).acquire_owned().await {
            Ok(turn) => turn,
            Err(_closed) => pending().await,
        }
    }

    /// The same, if it is so now.
    pub(super) fn is_due(&self, generation: u64) -> Option<RenewalPermit> {
        let is_old = self.generation() > generation;
        is_old.then(|| Arc::clone(&self.turn).try_acquire_owned().ok())?
    }

    /// What counts.
    pub(super) fn announced(&self) -> Option<Functions> {
        self.announced.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Takes note of what a process of this generation can do. The first of each counts for all: what a process that was
    /// lost and started again announces changes nothing. Gives what counted before, if that changes.
    pub(super) fn announce(&self, generation: u64, functions: Functions) -> Option<Functions> {
        let mut announced = self.announced.write().unwrap_or_else(PoisonError::into_inner);
        if announced.1.is_some() && generation <= announced.0 {
            return None;
        }
        std::mem::replace(&mut *announced, (generation, Some(functions))).1
    }
}
