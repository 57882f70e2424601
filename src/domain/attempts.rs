//! The attempts of a job that failed, as they are remembered.

use super::{JobError, Timestamp};

/// An attempt that failed, as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed; its number stands there too.
    pub error: JobError,
}

/// All of them, in order. Together they have a limit too: a job may fail a hundred times. A clone shares their texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FailedAttempts(Vec<FailedAttempt>);

impl FailedAttempts {
    /// What the errors of a job's attempts may have together, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
    const WHY: &str = "of all failed attempts, the texts of the latest are kept";
    /// An error without its texts has no more than that; a hundred of them fit.
    const BARE_BYTES_MAX: usize = 4 * JobError::TYPE_LENGTH_MAX + 96;

    /// Adds the next one. The texts of the oldest make room for it.
    pub fn push(&mut self, attempt: FailedAttempt) {
        self.0.push(attempt);
        let mut bytes: usize = self.0.iter().map(|it| it.error.bytes()).sum();
        for attempt in &mut self.0 {
            if bytes <= Self::BYTES_MAX {
                break;
            }
            // Those that have lost their texts have no more to lose.
            if attempt.error.bytes() > Self::BARE_BYTES_MAX {
                let bare = attempt.error.without_texts(Self::WHY);
                bytes -= attempt.error.bytes() - bare.bytes();
                attempt.error = bare;
            }
        }
    }

    /// Those of these that are not in `before` as they are here.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = &'a FailedAttempt> {
        let same = |place: usize, it: &FailedAttempt| before.0.get(place) == Some(it);
        self.0.iter().enumerate().filter(move |(place, it)| !same(*place, it)).map(|(_, it)| it)
    }

    /// About how many bytes of JSON they are.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        const MEMBERS: usize = 128;
        self.0.iter().map(|it| MEMBERS + it.error.json_bytes()).sum()
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[FailedAttempt] {
        &self.0
    }
}

impl FromIterator<FailedAttempt> for FailedAttempts {
    fn from_iter<T: IntoIterator<Item = FailedAttempt>>(attempts: T) -> Self {
        let mut all = Self::default();
        attempts.into_iter().for_each(|attempt| all.push(attempt));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(number: u32, kind: &str, bytes: usize) -> FailedAttempt {
        let error = JobError::new(kind, "x".repeat(bytes)).with_traceback(&"y".repeat(bytes));
        let error = error.of_attempt(number);
        FailedAttempt { started_at: Timestamp(1), finished_at: Timestamp(2), error }
    }

    #[test]
    fn the_oldest_lose_their_texts_first_and_say_so() {
        let mut all = FailedAttempts::default();
        for number in 1..=100 {
            let before = all.clone();
            all.push(failed(number, "ValueError", 900_000));
            let changed: Vec<u32> =
                all.changed_since(&before).map(|it| it.error.attempt()).collect();
            assert!(changed.len() <= 3 && changed.last() == Some(&number), "{changed:?}");
            let bytes: usize = all.as_slice().iter().map(|it| it.error.bytes()).sum();
            assert!(bytes <= FailedAttempts::BYTES_MAX, "{bytes}");
        }
        let [first, .., last] = all.as_slice() else { panic!("a hundred") };
        assert!(last.error.message().len() > JobError::TEXT_BYTES_MAX - 64);
        assert!(
            first.error.message().starts_with("[32") && first.error.message().contains("left out")
        );
        assert_eq!((first.error.kind().as_str(), first.error.traceback()), ("ValueError", None));
    }

    #[test]
    fn a_hundred_of_the_largest_names_fit() {
        let name = "\u{1f480}".repeat(JobError::TYPE_LENGTH_MAX);
        let all: FailedAttempts = (1..=100).map(|number| failed(number, &name, 10_000)).collect();
        let bytes: usize = all.as_slice().iter().map(|it| it.error.bytes()).sum();
        assert!(all.as_slice().len() == 100 && bytes <= FailedAttempts::BYTES_MAX, "{bytes}");
    }

    #[test]
    fn few_keep_all_they_have() {
        let few: FailedAttempts = (1..=100).map(|number| failed(number, "E", 200)).collect();
        assert!(few.as_slice().iter().all(|it| it.error.traceback().is_some()));
    }
}
