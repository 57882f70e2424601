//! Callbacks, their deliveries, and who is told next.

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{
    Callback, CallbackId, CallbackState, DeliveryState, Ordinal, Pace, Timestamp, When,
};

/// One POST, and what becomes of its delivery.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The callback's place, which is the delivery's too.
    pub callback: Ordinal,
    /// The host and port that it went to.
    pub host: String,
    /// How that receiver answered.
    pub pace: Pace,
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

/// What came of the wish to tell a callback once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It is due at once.
    Due,
    /// There is no such callback.
    Missing,
    /// What it waits for has not come about, so there is nothing to tell yet.
    NotDone,
    /// A delivery is due already, or on its way.
    Pending,
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

/// A page of the callbacks of one job or batch: behind which place it begins, and how many it may have.
pub type CallbackTurn = (Option<Ordinal>, usize);

/// What stands on it, and behind which place the next one begins.
pub type CallbackTurned = (Vec<Callback>, Option<Ordinal>);

/// Where the callbacks of one page stand, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackPlaces {
    /// Their places.
    pub places: Vec<Ordinal>,
    /// The next page is below this; none behind the last.
    pub next: Option<Ordinal>,
}

/// A receiver whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its host and port.
    pub host: String,
    /// How it answered last.
    pub pace: Pace,
}

/// What a delivery tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The job at that place, which is done.
    Job(Ordinal),
    /// The batch at that place, of which this has come about.
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
    pub of: Told,
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
