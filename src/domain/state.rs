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

    /// The one table of legal transitions (S3). `running → pending` is an interruption, in which
    /// the server stopped or died during the attempt, or a failure that is followed by another attempt.
    /// `pending → failed` is a time-out, or, as `pending → succeeded`, the end of a manual job, which
    /// nothing runs (F21).
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending => {
                matches!(next, Self::Running | Self::Succeeded | Self::Failed | Self::Cancelled)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// From each state, in the order of [`State::ALL`], to each.
    const MAY_BECOME: [[bool; 5]; 5] = [
        // pending, running, succeeded, failed, cancelled
        [false, true, true, true, true],
        [true, false, true, true, true],
        [false, false, false, false, false],
        [false, false, false, false, false],
        [false, false, false, false, false],
    ];

    fn legal() -> Vec<(State, State)> {
        let pairs = State::ALL.into_iter().flat_map(|from| State::ALL.map(|to| (from, to)));
        pairs.filter(|(from, to)| from.may_become(*to)).collect()
    }

    #[test]
    fn s3_of_25_pairs_eight_are_legal() {
        for (from, row) in State::ALL.into_iter().zip(MAY_BECOME) {
            for (to, expected) in State::ALL.into_iter().zip(row) {
                assert_eq!(from.may_become(to), expected, "{from} to {to}");
            }
        }
        assert_eq!(legal().len(), 8);
    }

    #[test]
    fn s2_done_is_exactly_where_nothing_can_follow() {
        for state in State::ALL {
            let ends = !State::ALL.into_iter().any(|next| state.may_become(next));
            assert_eq!(state.is_done(), ends, "{state}");
        }
    }

    #[test]
    fn s1_every_state_is_read_back_from_its_word() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        for word in ["", "Pending", "finished", "cancelled_and_notified", "canceled"] {
            assert_eq!(State::parse(word), None, "{word:?}");
        }
    }

    /// Rows of the page begin with two states in backticks: | `pending` | `running` | who |
    #[test]
    fn s3_the_page_on_the_lifecycle_lists_exactly_the_transitions_of_the_code() {
        let page = include_str!("../../docs/lifecycle.md");
        let state = |cell: &str| State::parse(cell.trim().strip_prefix('`')?.strip_suffix('`')?);
        let row = |line: &str| {
            let mut cells = line.strip_prefix('|')?.split('|');
            Some((state(cells.next()?)?, state(cells.next()?)?))
        };
        let listed: Vec<(State, State)> = page.lines().filter_map(row).collect();
        assert_eq!(listed, legal());
    }
}
