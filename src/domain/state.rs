//! The states of a job, and the one table of legal transitions.

use std::fmt;

/// Where a job stands. The last three are terminal: the future is *done* (rules S1, S2).
///
/// CPython's `FINISHED` is split into [`State::Succeeded`] and [`State::Failed`];
/// `CANCELLED_AND_NOTIFIED` does not exist, because a cancelled job is done at once (S4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a slot, or for its time.
    Pending,
    /// An attempt has really started and has not ended (S5).
    Running,
    /// The function returned.
    Succeeded,
    /// The function raised, or the job was lost in a way that has a name.
    Failed,
    /// Cancelled by request, and only so (F5).
    Cancelled,
}

impl State {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether the job has its outcome; true exactly for the terminal states (S2).
    #[must_use]
    pub fn is_done(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The one table of legal transitions (S3). `running → pending` is an interruption: the server
    /// stopped or died during the attempt, and the job starts again.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => {
                matches!(next, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Pending)
            }
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The word for it, the same in HTTP, SQL and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
