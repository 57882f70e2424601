//! What a brief view of a job leaves out: lists, waits, streams and webhooks show many jobs, or one to many.

use std::sync::Arc;

use super::{FailedAttempts, Job, JobError, Spec};

/// Arguments (both kinds together), a result, an error, and the failed attempts together, are left out above this many
/// bytes of JSON.
pub const BRIEF_BYTES_MAX: usize = 16 * 1024;

/// What a brief view of one job leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Its arguments.
    pub arguments: bool,
    /// Its result.
    pub result: bool,
    /// All of its error but the type and the beginning of the message.
    pub error: bool,
    /// Its failed attempts.
    pub attempts: bool,
}

impl LeftOut {
    /// What is too large of `job`.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self::with_results(job, BRIEF_BYTES_MAX)
    }

    /// The same where a result may have so many bytes.
    #[must_use]
    pub fn with_results(job: &Job, result_bytes_max: usize) -> Self {
        let is_large = |bytes: usize| bytes > BRIEF_BYTES_MAX;
        Self {
            arguments: is_large(job.spec.arguments_bytes()),
            result: job.result.as_ref().is_some_and(|result| result.len() > result_bytes_max),
            error: is_large(job.error.as_ref().map_or(0, JobError::json_bytes)),
            attempts: is_large(job.attempts.json_bytes()),
        }
    }
}

impl Job {
    /// The same job without what is large; none if nothing is. A result may have so many bytes.
    #[must_use]
    pub fn brief(&self, result_bytes_max: usize) -> Option<Self> {
        let left_out = LeftOut::with_results(self, result_bytes_max);
        if left_out == LeftOut::default() {
            return None;
        }
        let mut brief = self.clone();
        if left_out.arguments {
            brief.spec = Arc::new(Spec { args: None, kwargs: None, ..(*self.spec).clone() });
        }
        if left_out.result {
            (brief.result, brief.result_omitted) = (None, true);
        }
        if left_out.error {
            brief.error = self.error.as_ref().map(JobError::brief);
            brief.error_omitted = true;
        }
        if left_out.attempts {
            (brief.attempts, brief.attempts_omitted) = (FailedAttempts::default(), true);
        }
        Some(brief)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Json, Outcome, Timestamp, example, settle};

    #[test]
    fn a_brief_job_has_no_large_part_and_says_which_it_had() {
        let large = Json::trusted(format!("[\"{}\"]", "x".repeat(BRIEF_BYTES_MAX)));
        let spec = Spec { args: Some(large.clone()), ..example::spec(1) };
        let job = Job { spec: Arc::new(spec), ..example::running() };
        let error = JobError::new("E", "\u{1}".repeat(4_000)).with_traceback("line 1");
        let failed = settle(&job, Outcome::Raised(error), Timestamp(3_000), 0.5);
        let returned = settle(&job, Outcome::Returned(large), Timestamp(3_000), 0.5);
        let all = LeftOut { arguments: true, result: false, error: true, attempts: true };
        assert_eq!(LeftOut::of(&failed), all);
        let brief = failed.brief(BRIEF_BYTES_MAX).expect("it is large");
        assert_eq!(LeftOut::of(&brief), LeftOut::default());
        assert_eq!((brief.spec.arguments_bytes(), brief.attempts.as_slice()), (0, [].as_slice()));
        assert!(brief.error_omitted && brief.attempts_omitted && !brief.result_omitted);
        assert_eq!(brief.error.expect("an error").kind().as_str(), "E");
        let brief = returned.brief(BRIEF_BYTES_MAX).expect("it is large");
        assert!(brief.result.is_none() && brief.result_omitted && !brief.error_omitted);
        assert!(returned.brief(2 * BRIEF_BYTES_MAX).expect("its arguments are").result.is_some());
        assert_eq!(example::running().brief(BRIEF_BYTES_MAX), None);
    }
}
