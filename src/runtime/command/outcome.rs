//! What becomes of a job whose command has ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::domain::json::explained;
use crate::domain::{ErrorType, JobError, Json, Outcome};
use crate::runtime::process::{Ended, Exceeded, Refused};
use crate::runtime::returned;

use super::Stdout;

/// The exit code by which a program says that another try may succeed (`EX_TEMPFAIL`, sysexits.h).
const TRY_AGAIN: i32 = 75;

/// What a command left behind.
pub(super) struct Left {
    pub(super) ended: Ended,
    /// What it wrote, up to its limit.
    pub(super) output: Vec<u8>,
    /// Whether it wrote more than that.
    pub(super) is_too_much: bool,
    /// The last that it said beside.
    pub(super) said: String,
}

/// The job's result, or its error.
pub(super) fn of(program: &str, stdout: &Stdout, output_bytes_max: usize, left: Left) -> Outcome {
    match failure(program, output_bytes_max, &left) {
        Some(error) => {
            let is_silent = left.said.is_empty();
            Outcome::Raised(if is_silent { error } else { error.with_traceback(&left.said) })
        }
        None => match result(stdout, left.output) {
            // How much it may write is limited already.
            Ok(result) => returned(result, usize::MAX),
            Err(detail) => Outcome::Raised(JobError::of(ErrorType::InvalidResult, detail)),
        },
    }
}

fn failure(program: &str, output_bytes_max: usize, left: &Left) -> Option<JobError> {
    let Ended { code, signal, exceeded, .. } = left.ended;
    if left.is_too_much {
        let text = format!("{program} wrote more than {output_bytes_max} bytes and was ended");
        return Some(JobError::of(ErrorType::OutputLimit, text));
    }
    match (exceeded, code, signal) {
        (Some(Exceeded::Memory), ..) => {
            let text = format!("{program} used more memory than it may, and was ended");
            Some(JobError::of(ErrorType::OutOfMemory, text))
        }
        (_, Some(0), _) => None,
        (Some(Exceeded::Processes), ..) => {
            let text = format!("{program} wanted to be more processes than it may");
            Some(JobError::of(ErrorType::ProcessLimit, text))
        }
        (None, Some(code), _) => {
            let text = format!("{program} returned non-zero exit status {code}");
            let error = JobError::new("CalledProcessError", text);
            let error = error.with_details(Json::trusted(json!({"exit_code": code}).to_string()));
            Some(if code == TRY_AGAIN { error.retryable(true) } else { error })
        }
        (None, None, Some(signal)) => {
            let text = format!("{program} died of signal {signal}{}", named(signal));
            let details = Json::trusted(json!({"signal": signal}).to_string());
            Some(JobError::new("CalledProcessError", text).with_details(details))
        }
        (None, None, None) => Some(lost(program)),
    }
}

fn lost(program: &str) -> JobError {
    let text = format!("what kept {program} is gone, and with it how it ended");
    JobError::of(ErrorType::WorkerLost, text)
}

/// The name of the signals that mostly end a program (signal(7), the numbers of Linux).
fn named(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

fn result(stdout: &Stdout, output: Vec<u8>) -> Result<Json, String> {
    let text = |output: Vec<u8>| {
        String::from_utf8(output).map_err(|error| {
            format!(
                "its output is not UTF-8: {}; stdout = \"bytes\" takes what is not text",
                error.utf8_error()
            )
        })
    };
    match stdout {
        Stdout::Json => {
            let text = text(output)?;
            Json::parse(&text).map_err(|error| {
                let why = explained(&text, &error);
                format!("its output is not one JSON value: {why}; stdout = \"text\" takes what is not JSON")
            })
        }
        Stdout::Text => Ok(Json::trusted(serde_json::Value::from(text(output)?).to_string())),
        Stdout::Bytes(content_type) => {
            let body = STANDARD.encode(output);
            let whole =
                json!({"content_type": content_type, "body_encoding": "base64", "body": body});
            Ok(Json::trusted(whole.to_string()))
        }
    }
}

/// From an attempt for which there was no process to the next, in milliseconds.
const START_AGAIN_MS: i64 = 1_000;

/// There was none just now.
pub(super) fn not_started(reason: String) -> Outcome {
    Outcome::NotStarted { reason, wait_ms: START_AGAIN_MS }
}

/// What a program that could not be started means: for want of a process its job waits; otherwise its error has the
/// name that Python gives it.
pub(super) fn spawn_refused(program: &str, refused: Refused) -> Outcome {
    match refused {
        Refused::Exhausted(error) => not_started(error.to_string()),
        Refused::Lost => Outcome::Raised(lost(program)),
        Refused::GivenUp => not_started(refused.to_string()),
        Refused::Program { step, error } => {
            let name = match error.kind() {
                std::io::ErrorKind::NotFound => "FileNotFoundError",
                std::io::ErrorKind::PermissionDenied => "PermissionError",
                _ => "OSError",
            };
            Outcome::Raised(JobError::new(name, format!("{step}: {error}")))
        }
    }
}
