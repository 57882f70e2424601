//! Callbacks, their deliveries, and who is told next.

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{
    CallbackId, CallbackState, DeliveryState, Ordinal, ReceiverHealth, Timestamp, When,
};

/// One POST, and what becomes of its delivery.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The callback's place, which is the delivery's too.
    pub callback: Ordinal,
    /// The host and port that it went to.
    pub host: String,
    /// How that receiver answered.
    pub health: ReceiverHealth,
    /// The number of this attempt, from 1.
    pub number: usize,
    /// When it ended, by the server's own clock; the attempt itself tells of the wall's.
    pub now: Timestamp,
    /// What was sent and answered.
    pub attempt: DeliveryAttempt,
    /// What becomes of the delivery.
    pub state: DeliveryState,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
}

/// Which callbacks are meant; what is none leaves nothing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackFilter {
    /// Those in this state.
    pub state: Option<CallbackState>,
    /// Those to this host and port.
    pub host: Option<String>,
    /// Those added later than this.
    pub created_after: Option<Timestamp>,
    /// Those added earlier than this.
    pub created_before: Option<Timestamp>,
}

/// Which callbacks are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackQuery {
    /// That of this id.
    Id(CallbackId),
    /// Those of the job at that place, in the order they were added.
    OfJob(Ordinal),
    /// Those of the batch at that place, in the order they were added.
    OfBatch(Ordinal),
    /// Those of all jobs and batches that pass, the newest first.
    Matching(CallbackFilter),
    /// Those that were given something in confidence.
    Sealed,
}

/// Where the callbacks of one page stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackPlaces {
    /// Their places.
    pub places: Vec<Ordinal>,
    /// The next page begins behind this; none behind the last.
    pub next: Option<Ordinal>,
}

/// A receiver to which something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueReceiver {
    /// Its host and port.
    pub host: String,
    /// How it answered last.
    pub health: ReceiverHealth,
}

/// What a callback, and its delivery, tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverySubject {
    /// The end of the job at that place.
    Job(Ordinal),
    /// That this has come about of the batch at that place.
    Batch(Ordinal, When),
}

/// A delivery whose time has come.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    /// Its place, and its callback's.
    pub callback: Ordinal,
    /// Its name, the `webhook-id`.
    pub id: CallbackId,
    /// What it tells of.
    pub of: DeliverySubject,
    /// Where to POST.
    pub url: String,
    /// The URL's host and port.
    pub host: String,
    /// Secret and headers given with the callback, sealed.
    pub sealed: Option<Vec<u8>>,
    /// POSTs made before.
    pub attempts: usize,
    /// Of these, those made before its schedule began anew.
    pub schedule_from: usize,
    /// Its body, if it was rendered before.
    pub body: Option<String>,
}
