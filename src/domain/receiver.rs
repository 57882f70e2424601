//! Receivers of callbacks: how each answers, and how many POSTs it is trusted with at once.

use super::callback::Answer;

/// How a receiver answered the last time. A slow one must not take the place of the others, and a silent
/// one is not knocked at by many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiverHealth {
    /// Nothing has been sent to it yet.
    #[default]
    New,
    /// It answered within [`ReceiverHealth::QUICK_MS`].
    Quick,
    /// It answered, and took longer.
    Slow,
    /// It did not answer: refused, timed out, denied, cut.
    Silent,
}

/// Receivers that have places together, so that none of another tier can take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Those that have answered quickly.
    Quick,
    /// Those that nothing is known of.
    New,
    /// Those that were slow or silent.
    Tried,
}

impl Tier {
    /// All of them, in the order in which they are served.
    pub const ALL: [Self; 3] = [Self::Quick, Self::New, Self::Tried];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::New => "new",
            Self::Tried => "tried",
        }
    }
}

impl ReceiverHealth {
    /// An answer within so many milliseconds is quick.
    pub const QUICK_MS: i64 = 1_000;
    const ALL: [Self; 4] = [Self::New, Self::Quick, Self::Slow, Self::Silent];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Quick => "quick",
            Self::Slow => "slow",
            Self::Silent => "silent",
        }
    }

    /// The health of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == word)
    }

    /// The health of a receiver that answered so, after so many milliseconds.
    #[must_use]
    pub fn of(answer: Answer, duration_ms: i64) -> Self {
        match answer {
            Answer::None => Self::Silent,
            Answer::Status { .. } if duration_ms <= Self::QUICK_MS => Self::Quick,
            Answer::Status { .. } => Self::Slow,
        }
    }

    /// Whose places a receiver of that health may have.
    #[must_use]
    pub fn tier(self) -> Tier {
        match self {
            Self::Quick => Tier::Quick,
            Self::New => Tier::New,
            Self::Slow | Self::Silent => Tier::Tried,
        }
    }

    /// POSTs at once to a receiver of that health, where `per_host_max` is the most to any.
    #[must_use]
    pub fn at_once(self, per_host_max: usize) -> usize {
        match self {
            Self::Quick | Self::Slow => per_host_max,
            // One is enough to learn of.
            Self::New | Self::Silent => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Answer = Answer::Status { status: 200, retry_after_seconds: None };
    const BROKEN: Answer = Answer::Status { status: 500, retry_after_seconds: None };

    #[test]
    fn any_answer_in_time_is_quick_and_none_at_all_is_silence() {
        for answer in [FINE, BROKEN] {
            assert_eq!(ReceiverHealth::of(answer, 0), ReceiverHealth::Quick);
            assert_eq!(ReceiverHealth::of(answer, ReceiverHealth::QUICK_MS), ReceiverHealth::Quick);
            assert_eq!(
                ReceiverHealth::of(answer, ReceiverHealth::QUICK_MS + 1),
                ReceiverHealth::Slow
            );
        }
        for duration_ms in [0, i64::MAX] {
            assert_eq!(ReceiverHealth::of(Answer::None, duration_ms), ReceiverHealth::Silent);
        }
    }

    #[test]
    fn a_receiver_is_trusted_with_as_many_as_it_answers() {
        let at_once = ReceiverHealth::ALL.map(|health| health.at_once(16));
        assert_eq!(at_once, [1, 16, 16, 1]);
        assert_eq!(ReceiverHealth::ALL.map(|health| health.at_once(1)), [1; 4]);
    }

    #[test]
    fn health_reads_back_from_its_word() {
        for health in ReceiverHealth::ALL {
            assert_eq!(ReceiverHealth::parse(health.as_str()), Some(health));
        }
        assert_eq!(ReceiverHealth::parse("dead"), None);
    }
}
