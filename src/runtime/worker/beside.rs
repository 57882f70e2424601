//! What a process of a worker says beside the protocol, on its standard error.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::LogStream;
use crate::runtime::Call;
use crate::runtime::stderr::{self, Tail};

use super::Worker;

/// What a process says beside: it belongs to the call that it has.
#[derive(Debug, Default)]
pub(super) struct Errors {
    call: Mutex<Option<Call>>,
    tail: Mutex<Tail>,
}

impl Errors {
    pub(super) fn is_for(&self, call: Option<&Call>) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = call.cloned();
        if call.is_some() {
            *self.tail.lock().unwrap_or_else(PoisonError::into_inner) = Tail::default();
        }
    }

    pub(super) fn take(&self) -> String {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *tail).into_text()
    }
}

/// Makes lines of what the process says beside: of the log of its call, or of the server's.
pub(super) async fn listen(
    from: tokio::net::unix::pipe::Receiver,
    errors: Arc<Errors>,
    worker: Worker,
) {
    let keep = |piece: &[u8]| {
        errors.tail.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
    };
    let write = |line: &str| match &*errors.call.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(call) => call.write(LogStream::Stderr, line),
        None => worker.log(line),
    };
    stderr::follow(from, keep, write).await;
}
