//! A job's error: data, the same in every language, and of a size that everybody can keep.

use std::sync::Arc;

use super::json::{Keys, check};
use super::{Json, RetryAfter, text};

/// What kind of error: the exception's own name, or one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The name of what the function raised, like `ValueError`.
    Named(Box<str>),
    /// A native function panicked.
    Panic,
    /// The server stopped or died during the attempt, and the job asked to run at most once.
    Interrupted,
    /// The server died during this job too often.
    CrashLoop,
    /// What the function returned is not JSON (E24).
    InvalidResult,
    /// What the function returned is larger than a result may be (E24).
    ResultTooLarge,
    /// An outgoing request to an address that the egress policy denies.
    EgressDenied,
    /// The arguments do not read back from the disk as they were submitted.
    DamagedArguments,
    /// The process that had the call is gone, or was not to be understood any more (E20).
    WorkerLost,
    /// A program wrote more than it may.
    OutputLimit,
    /// A program used more memory than it may.
    OutOfMemory,
    /// A program wanted to be more processes than it may.
    ProcessLimit,
    /// The first attempt did not start in time.
    StartTimeout,
    /// The attempt did not end in time.
    RunTimeout,
    /// The job was not done in time, whatever it was waiting for.
    TotalTimeout,
}

impl ErrorType {
    const OURS: [Self; 14] = [
        Self::Panic,
        Self::Interrupted,
        Self::CrashLoop,
        Self::InvalidResult,
        Self::ResultTooLarge,
        Self::EgressDenied,
        Self::DamagedArguments,
        Self::WorkerLost,
        Self::OutputLimit,
        Self::OutOfMemory,
        Self::ProcessLimit,
        Self::StartTimeout,
        Self::RunTimeout,
        Self::TotalTimeout,
    ];

    /// Its name as clients see it: ours are in `snake_case`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Panic => "panic",
            Self::Interrupted => "interrupted",
            Self::CrashLoop => "crash_loop",
            Self::InvalidResult => "invalid_result",
            Self::ResultTooLarge => "result_too_large",
            Self::EgressDenied => "egress_denied",
            Self::DamagedArguments => "damaged_arguments",
            Self::WorkerLost => "worker_lost",
            Self::OutputLimit => "output_limit",
            Self::OutOfMemory => "out_of_memory",
            Self::ProcessLimit => "process_limit",
            Self::StartTimeout => "start_timeout",
            Self::RunTimeout => "run_timeout",
            Self::TotalTimeout => "total_timeout",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let ours = Self::OURS.into_iter().find(|ours| ours.as_str() == name);
        ours.unwrap_or_else(|| Self::Named(name.into()))
    }
}

/// Why an attempt failed. A native function returns it as its `Err`.
///
/// Its texts are cut when they come into being, wherever they come from, and say so: an error is kept with each attempt,
/// sent with each callback and shown on each page. A clone shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct JobError {
    kind: ErrorType,
    message: Arc<str>,
    traceback: Option<Arc<str>>,
    details: Option<Json>,
    details_omitted: bool,
    retryable: bool,
    permanent: bool,
    retry_after: Option<RetryAfter>,
    attempt: u32,
}

impl JobError {
    /// Longest type, in characters.
    pub const TYPE_LENGTH_MAX: usize = 128;
    /// Longest message, and longest traceback, in bytes.
    pub const TEXT_BYTES_MAX: usize = 16 * 1024;
    /// Largest details, in bytes of JSON.
    pub const DETAILS_BYTES_MAX: usize = 16 * 1024;
    /// Longest message of a brief view that leaves the rest of the error out.
    const BRIEF_BYTES_MAX: usize = 1_024;

    /// An error with the name of an exception, such as `ValueError`; not retryable. Names of our own are for what the
    /// server finds out itself.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self::of(ErrorType::Named(name.into()), message)
    }

    /// An error of one of our own types.
    pub fn of(kind: ErrorType, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            retryable: matches!(kind, ErrorType::RunTimeout | ErrorType::WorkerLost),
            kind: fitting(kind),
            message: text::head(&text::without_nul(&message), Self::TEXT_BYTES_MAX).into(),
            traceback: None,
            details: None,
            details_omitted: false,
            permanent: false,
            retry_after: None,
            attempt: 0,
        }
    }

    /// The same error with where it went wrong, in the form of the function's language. Of a long one the end stays.
    #[must_use]
    pub fn with_traceback(mut self, traceback: &str) -> Self {
        let traceback = text::without_nul(traceback);
        self.traceback = Some(text::tail(&traceback, Self::TEXT_BYTES_MAX).into());
        self
    }

    /// The same error with details for programs. What is too large, or what not every reader takes, is left out.
    #[must_use]
    pub fn with_details(mut self, details: Json) -> Self {
        let is_kept =
            details.len() <= Self::DETAILS_BYTES_MAX && check(details.as_str(), Keys::Any).is_ok();
        self.details_omitted = !is_kept;
        self.details = Some(details).filter(|_| is_kept);
        self
    }

    /// The same error, whose details were left out before.
    #[must_use]
    pub fn without_details(mut self) -> Self {
        (self.details, self.details_omitted) = (None, true);
        self
    }

    /// The same error, marked as worth another attempt, or as final. An error without a mark is followed by
    /// another attempt if its job asked for retries.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self.permanent = !retryable;
        self
    }

    /// The same error with both marks, as they were kept.
    #[must_use]
    pub fn marked(mut self, retryable: bool, permanent: bool) -> Self {
        (self.retryable, self.permanent) = (retryable, permanent);
        self
    }

    /// The same error, of somebody who wants to be asked again then. Only a settle reads it; nothing keeps it.
    #[must_use]
    pub fn with_retry_after(mut self, asked: Option<RetryAfter>) -> Self {
        self.retry_after = asked;
        self
    }

    /// When whoever was asked wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<RetryAfter> {
        self.retry_after
    }

    /// The same error, as that of this attempt.
    #[must_use]
    pub fn of_attempt(mut self, attempt: u32) -> Self {
        (self.attempt, self.retry_after) = (attempt, None);
        self
    }

    /// The exception's name, or one of ours.
    #[must_use]
    pub fn kind(&self) -> &ErrorType {
        &self.kind
    }

    /// What went wrong, for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it went wrong, in the form of the function's language.
    #[must_use]
    pub fn traceback(&self) -> Option<&str> {
        self.traceback.as_deref()
    }

    /// Anything a program may want to know about it.
    #[must_use]
    pub fn details(&self) -> Option<&Json> {
        self.details.as_ref()
    }

    /// Whether there were details that could not be kept.
    #[must_use]
    pub fn details_omitted(&self) -> bool {
        self.details_omitted
    }

    /// Whether another attempt could succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The same, none where nobody has said so: such an error is followed by another attempt too.
    #[must_use]
    pub fn said_retryable(&self) -> Option<bool> {
        (self.retryable || self.permanent).then_some(self.retryable)
    }

    /// Whether the function said that no other attempt could: then none is made, however many are left.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// The attempt that failed, from 1; 0 until the job is settled.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether another attempt may follow, if the job has any left.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        match self.kind {
            ErrorType::EgressDenied
            | ErrorType::DamagedArguments
            | ErrorType::StartTimeout
            | ErrorType::TotalTimeout
            | ErrorType::CrashLoop
            | ErrorType::Interrupted => false,
            ErrorType::Named(_)
            | ErrorType::Panic
            | ErrorType::InvalidResult
            | ErrorType::ResultTooLarge
            | ErrorType::WorkerLost
            | ErrorType::OutputLimit
            | ErrorType::OutOfMemory
            | ErrorType::ProcessLimit
            | ErrorType::RunTimeout => !self.permanent,
        }
    }

    /// Bytes of its texts and details.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let traceback = self.traceback.as_ref().map_or(0, |text| text.len());
        let details = self.details.as_ref().map_or(0, Json::len);
        self.kind.as_str().len() + self.message.len() + traceback + details
    }

    /// About how many bytes of JSON it is.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        const MEMBERS: usize = 96;
        let traceback = self.traceback().map_or(0, text::json_bytes);
        let details = self.details.as_ref().map_or(0, Json::len);
        let kind = text::json_bytes(self.kind.as_str());
        MEMBERS + kind + text::json_bytes(&self.message) + traceback + details
    }

    /// The same without traceback and details, and the beginning of its message.
    #[must_use]
    pub fn brief(&self) -> Self {
        let message = text::head(&self.message, Self::BRIEF_BYTES_MAX);
        Self { message: message.into(), ..self.bare() }
    }

    /// The same with a sentence in place of its texts and details.
    pub(super) fn without_texts(&self, why: &str) -> Self {
        Self { message: format!("[{} bytes left out: {why}]", self.bytes()).into(), ..self.bare() }
    }

    fn bare(&self) -> Self {
        let details_omitted = self.details_omitted || self.details.is_some();
        Self { traceback: None, details: None, details_omitted, ..self.clone() }
    }
}

/// A name is as long as it may be.
fn fitting(kind: ErrorType) -> ErrorType {
    match kind {
        ErrorType::Named(name) => {
            let name = text::without_nul(&name);
            ErrorType::Named(text::name(&name, JobError::TYPE_LENGTH_MAX).into())
        }
        ours => ours,
    }
}

#[cfg(test)]
mod tests;
