//! Callbacks, and when a delivery is tried again.

use std::fmt;

use uuid::Uuid;

use super::{BatchId, Invalid, JobId, Timestamp, When};

/// A callback's name. It is also the `webhook-id` of its delivery: one event for each callback, the
/// same in every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallbackId(pub Uuid);

impl fmt::Display for CallbackId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// A callback to be kept: a URL to tell when a job is done (F13).
#[derive(Clone)]
pub struct NewCallback {
    pub id: CallbackId,
    /// Where to POST.
    pub url: String,
    /// The URL's host and port, by which deliveries are kept from crowding one receiver.
    pub host: String,
    /// Secret and headers given with it, sealed; none where it gave none.
    pub sealed: Option<Vec<u8>>,
    /// When it was added, by the wall clock.
    pub created_at: Timestamp,
    /// The same by the server's own clock: if what it waits for has come about, it is due from then on.
    pub due_at: Timestamp,
}

impl NewCallback {
    /// Longest URL, in bytes.
    pub const URL_BYTES_MAX: usize = 2_048;
    /// Largest names and values of headers together, in bytes.
    pub const HEADERS_BYTES_MAX: usize = 8 * 1024;
    /// Most callbacks of a job, and of a batch.
    pub const COUNT_MAX: usize = 1_000;
}

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackState {
    /// The job is not done.
    Waiting,
    /// A delivery is due, or will be tried again.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// The whole schedule ran without a 2xx.
    Failed,
    /// The receiver answered 410: it wants nothing more.
    Disabled,
}

impl CallbackState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Pending, Self::Delivered, Self::Failed, Self::Disabled];

    /// The state of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more is sent, unless it is asked for.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Waiting | Self::Pending => false,
            Self::Delivered | Self::Failed | Self::Disabled => true,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Due, or to be tried again.
    Pending,
    /// Answered 2xx.
    Delivered,
    /// The schedule ran out.
    Failed,
    /// Answered 410.
    Disabled,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Disabled];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One POST that was made, and what came of it.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it was sent.
    pub at: Timestamp,
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// The first bytes of the answer.
    pub body: Option<String>,
    /// From sending to the end of the answer, in milliseconds.
    pub duration_ms: i64,
}

impl DeliveryAttempt {
    /// What is kept of an answer, and longest error, in bytes.
    pub const TEXT_BYTES_MAX: usize = 256;
}

/// The POSTs made, or to be made, for one callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is tried next; none when it is over.
    pub next_at: Option<Timestamp>,
    /// Servers that died while it was being sent.
    pub deaths: u32,
    /// The latest POSTs made, in order.
    pub attempts: Vec<DeliveryAttempt>,
    /// How many were made before those.
    pub earlier_attempts: usize,
}

impl Delivery {
    /// Most attempts that are shown: a callback may be told again without end.
    pub const SHOWN_MAX: usize = 20;
}

/// Whose a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A job's.
    Job(JobId),
    /// A batch's.
    Batch(BatchId),
}

/// How many callbacks are in each state, in the order of [`CallbackState::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([usize; CallbackState::ALL.len()]);

impl StateCounts {
    /// Counts `more` in this state.
    pub fn add(&mut self, state: CallbackState, more: usize) {
        self.0[state as usize] += more;
    }

    /// How many there are in this state.
    #[must_use]
    pub fn of(&self, state: CallbackState) -> usize {
        self.0[state as usize]
    }

    /// Whether there are none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

/// A callback with its delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct Callback {
    pub id: CallbackId,
    /// Whose it is.
    pub owner: Owner,
    /// Where to POST.
    pub url: String,
    /// Whether that is its beginning only: an older server took longer ones.
    pub url_omitted: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// What it waits for, if it is a batch's; a job's waits for its end.
    pub when: Option<When>,
    /// Its delivery; none until that has come about.
    pub delivery: Option<Delivery>,
}

impl Callback {
    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> CallbackState {
        match self.delivery.as_ref().map(|delivery| delivery.state) {
            None => CallbackState::Waiting,
            Some(DeliveryState::Pending) => CallbackState::Pending,
            Some(DeliveryState::Delivered) => CallbackState::Delivered,
            Some(DeliveryState::Failed) => CallbackState::Failed,
            Some(DeliveryState::Disabled) => CallbackState::Disabled,
        }
    }
}

/// How a receiver answered one POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With a status, and perhaps a `Retry-After` in seconds.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_seconds: Option<u64>,
    },
    /// Not at all: refused, timed out, denied, cut.
    None,
}

/// When a delivery is tried: seconds to wait before each attempt, after the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<u32>);

impl Default for Schedule {
    /// At once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h: over three days,
    /// as Standard Webhooks 1.0 asks.
    fn default() -> Self {
        Self(vec![0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400])
    }
}

impl Schedule {
    /// Most attempts.
    pub const ATTEMPTS_MAX: usize = 100;
    /// Longest wait of a schedule, before it is spread: 30 days.
    pub const WAIT_SECONDS_MAX: u32 = 30 * 86_400;
    /// A receiver's `Retry-After` is heeded up to here.
    pub const RETRY_AFTER_SECONDS_MAX: u64 = 86_400;

    /// A schedule of these waits. The first is that before the first attempt: 0, for a callback is told at
    /// once.
    pub fn new(seconds: Vec<u32>) -> Result<Self, Invalid> {
        if !(1..=Self::ATTEMPTS_MAX).contains(&seconds.len()) {
            return Err(Invalid::new(format!("must name 1 to {} waits", Self::ATTEMPTS_MAX)));
        }
        if seconds[0] != 0 {
            return Err(Invalid::new("must begin with 0: the first attempt is made at once"));
        }
        if seconds.iter().any(|seconds| *seconds > Self::WAIT_SECONDS_MAX) {
            let most = Self::WAIT_SECONDS_MAX;
            return Err(Invalid::new(format!("has a wait of more than {most} seconds (30 days)")));
        }
        Ok(Self(seconds))
    }

    /// The longest that a delivery ever waits by it, in milliseconds.
    #[must_use]
    pub fn longest_wait_ms(&self) -> i64 {
        let longest = i64::from(self.0.iter().copied().max().unwrap_or(0));
        let asked = i64::try_from(Self::RETRY_AFTER_SECONDS_MAX).unwrap_or(i64::MAX);
        spread(longest * 1_000, 1.0).max(asked * 1_000)
    }

    /// The waits, in seconds.
    #[must_use]
    pub fn seconds(&self) -> &[u32] {
        &self.0
    }

    /// What becomes of a delivery after its `attempts`-th POST (from 1) was answered so at `now`.
    /// `chance` is uniform in 0..1 and spreads retries by ±20 %.
    ///
    /// 2xx is delivered, 410 wants nothing more, all else is tried again while the schedule lasts; a
    /// 3xx is never followed.
    #[must_use]
    pub fn after(
        &self,
        attempts: usize,
        answer: Answer,
        now: Timestamp,
        chance: f64,
    ) -> (DeliveryState, Option<Timestamp>) {
        match answer {
            Answer::Status { status: 200..=299, .. } => return (DeliveryState::Delivered, None),
            Answer::Status { status: 410, .. } => return (DeliveryState::Disabled, None),
            Answer::Status { .. } | Answer::None => {}
        }
        let Some(&seconds) = self.0.get(attempts) else {
            return (DeliveryState::Failed, None);
        };
        let asked_seconds = match answer {
            Answer::Status { status: 429 | 503, retry_after_seconds: Some(seconds) } => {
                seconds.min(Self::RETRY_AFTER_SECONDS_MAX)
            }
            Answer::Status { .. } | Answer::None => 0,
        };
        let asked_ms = i64::try_from(asked_seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        let wait_ms = spread(i64::from(seconds) * 1_000, chance).max(asked_ms);
        (DeliveryState::Pending, Some(now.plus_millis(wait_ms)))
    }
}

/// `milliseconds` ±20 %, as `chance` in 0..1 has it.
fn spread(milliseconds: i64, chance: f64) -> i64 {
    let per_mille = 800.0 + 400.0 * chance.clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "800 to 1200")]
    let per_mille = per_mille as i64;
    milliseconds / 1_000 * per_mille + milliseconds % 1_000 * per_mille / 1_000
}

#[cfg(test)]
mod tests;
