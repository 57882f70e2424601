//! A job's error: data, the same in every language.

use super::Json;

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
#[derive(Clone, PartialEq, Eq)]
pub struct JobError {
    /// The exception's name, or one of ours.
    pub kind: ErrorType,
    /// What went wrong, for a person.
    pub message: String,
    /// Where it went wrong, in the form of the function's language.
    pub traceback: Option<String>,
    /// Anything a program may want to know about it.
    pub details: Option<Json>,
    /// Whether another attempt could succeed.
    pub retryable: bool,
    /// Whether the function said that no other attempt could: then none is made, however many are left.
    pub permanent: bool,
    /// The attempt that failed, from 1; 0 until the job is settled.
    pub attempt: u32,
}

impl JobError {
    /// An error with the name of an exception, such as `ValueError`; not retryable.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self::of(ErrorType::Named(name.into()), message)
    }

    /// An error of one of our own types.
    pub fn of(kind: ErrorType, message: impl Into<String>) -> Self {
        Self {
            retryable: matches!(kind, ErrorType::RunTimeout | ErrorType::WorkerLost),
            kind,
            message: message.into(),
            traceback: None,
            details: None,
            permanent: false,
            attempt: 0,
        }
    }

    /// The same error, marked as worth another attempt, or as final. An error without a mark is followed by
    /// another attempt if its job asked for retries.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self.permanent = !retryable;
        self
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

    /// The same error with details for programs.
    #[must_use]
    pub fn with_details(mut self, details: Json) -> Self {
        self.details = Some(details);
        self
    }
}
