//! A line of the log for each job that fails: which one it was and how it ended, and nothing of what it was given or said.

use crate::domain::{ErrorType, Job, JobError, State};
use crate::store::Ended;

/// Most of the name of an error, which is the function's choice.
const TYPE_CHARS_MAX: usize = 64;

/// Tells of a job that has changed, if an attempt of it failed.
pub(super) fn tell(job: &Job) {
    match (&job.error, job.attempts.as_slice().last()) {
        (Some(error), _) if job.state == State::Failed => tell_end(job, error),
        (None, Some(last)) if !job.is_done() && last.error.attempt() == job.attempt => {
            tracing::debug!(
                job.id = %job.spec.id,
                job.attempt,
                function = %job.spec.function,
                queue = %job.spec.queue,
                "error.type" = cut(&last.error),
                "an attempt has failed; another follows"
            );
        }
        _ => {}
    }
}

/// Tells of a job that has failed while it waited.
pub(super) fn tell_waiting(ended: Ended) {
    if ended.state == State::Failed {
        tracing::info!(job.id = %ended.id, "a job has failed: its time was over while it waited");
    }
}

fn tell_end(job: &Job, error: &JobError) {
    // That a function raises is its business; what the server or its disk has to do with is the operator's.
    let is_ours = matches!(
        error.kind(),
        ErrorType::CrashLoop | ErrorType::DamagedArguments | ErrorType::Interrupted
    );
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                job.id = %job.spec.id,
                job.attempt,
                function = %job.spec.function,
                queue = %job.spec.queue,
                "error.type" = cut(error),
                "a job has failed"
            )
        };
    }
    if is_ours { line!(warn) } else { line!(info) }
}

fn cut(error: &JobError) -> &str {
    let name = error.kind().as_str();
    name.char_indices().nth(TYPE_CHARS_MAX).map_or(name, |(end, _)| &name[..end])
}
