//! A job as it is shown.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{Damage, Job, JobId, Json, LeftOut, RunAt, Spec, StateCounts, Timestamp};

use super::body::{FailedAttemptBody, JobErrorBody, MetadataBody, ProgressBody};
use super::callback_body::StateCountsBody;
use super::members::Members;
use super::print::{Object, m};
use super::proxies::prefix;

/// What the members of a job take, about, beside its arguments and its result.
const MEMBERS_BYTES: usize = 1_024;

/// How much of a job is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Everything.
    Whole,
    /// Without what is large of it.
    Brief,
    /// The same where a result may have so many bytes.
    Results(usize),
}

impl View {
    fn left_out(self, job: &Job) -> LeftOut {
        match self {
            Self::Whole => LeftOut::default(),
            Self::Brief => LeftOut::of(job),
            Self::Results(most) => LeftOut::with_results(job, most),
        }
    }
}

/// A job within a larger body.
#[derive(Debug)]
pub(super) struct JobBody<'a> {
    job: &'a Job,
    view: View,
    members: Option<&'a Members>,
    callbacks: Option<StateCounts>,
}

impl<'a> JobBody<'a> {
    /// `job` as it is shown.
    pub(super) fn of(job: &'a Job, view: View) -> Self {
        Self { job, view, members: None, callbacks: None }
    }

    /// The same with these members only.
    pub(super) fn only(self, members: Option<&'a Members>) -> Self {
        Self { members, ..self }
    }

    /// The same with how many callbacks it has in each state.
    pub(super) fn telling(self, callbacks: Option<StateCounts>) -> Self {
        Self { callbacks, ..self }
    }

    /// As a text of its own.
    pub(super) fn text(&self) -> String {
        let whole = self.whole();
        match self.members {
            Some(members) => members.of(&whole),
            None => whole,
        }
    }

    fn whole(&self) -> String {
        let Self { job, view, members: _, callbacks } = self;
        let spec = &job.spec;
        let left_out = view.left_out(job);
        let args = spec.args.as_ref().filter(|_| !left_out.arguments);
        let kwargs = spec.kwargs.as_ref().filter(|_| !left_out.arguments);
        let result = job.result.as_ref().filter(|_| !left_out.result);
        let bytes = |json: Option<&Json>| json.map_or(0, Json::len);
        let values_bytes = bytes(args) + bytes(kwargs) + bytes(result);
        let mut out = String::with_capacity(MEMBERS_BYTES + values_bytes);
        let mut it = Object::begin(&mut out);
        let mut buffer = Uuid::encode_buffer();
        let id: &str = spec.id.0.hyphenated().encode_lower(&mut buffer);
        it.word(m!("id"), &[id]);
        it.word(m!("function"), &[spec.function.as_str()]);
        it.json(m!("args"), args);
        it.json(m!("kwargs"), kwargs);
        call(&mut it, spec);
        it.word(m!("state"), &[job.state.as_str()]);
        it.flag(m!("done"), job.is_done());
        it.number(m!("version"), job.version);
        it.json(m!("result"), result);
        error(&mut it, job, left_out.error);
        it.number(m!("attempt"), job.attempt);
        it.number(m!("max_attempts"), spec.options.retry.max_attempts);
        match job.attempts.as_slice() {
            failed if left_out.attempts || failed.is_empty() => it.none_of(m!("attempts"), "[]"),
            failed => it.value(m!("attempts"), &FailedAttemptBody::all(spec, failed)),
        }
        it.number(m!("interruptions"), job.interruptions);
        it.maybe(m!("progress"), job.progress.as_ref().map(ProgressBody::of));
        times(&mut it, job);
        match spec.batch {
            Some(of) => it.value(m!("batch"), &of.batch.to_string()),
            None => it.null(m!("batch")),
        }
        match spec.options.retry_of {
            Some(JobId(id)) => it.value(m!("retry_of"), &id.hyphenated().to_string()),
            None => it.null(m!("retry_of")),
        }
        if let Some(callbacks) = callbacks {
            it.value(m!("callbacks"), &StateCountsBody(*callbacks));
        }
        urls(&mut it, id);
        let no_result = job.result_omitted || (result.is_none() && job.result.is_some());
        let omitted = [
            (m!("args_omitted"), args.is_none()),
            (m!("kwargs_omitted"), kwargs.is_none()),
            (m!("result_omitted"), no_result),
            (m!("error_omitted"), job.error_omitted || left_out.error),
            (m!("attempts_omitted"), job.attempts_omitted || left_out.attempts),
        ];
        if job.damage != Damage::default() {
            it.value(m!("damaged"), &damaged(job.damage));
        }
        omitted.iter().filter(|(_, left_out)| *left_out).for_each(|(name, _)| it.flag(name, true));
        it.end();
        out
    }
}

impl Serialize for JobBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = RawValue::from_string(self.text()).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

/// Why it failed, or the beginning of that.
fn error(it: &mut Object<'_>, job: &Job, is_brief: bool) {
    match &job.error {
        Some(error) if is_brief => it.value(m!("error"), &JobErrorBody::of(&error.brief())),
        error => it.maybe(m!("error"), error.as_ref().map(JobErrorBody::of)),
    }
}

/// The parts that do not read back, by their names.
pub(super) fn damaged(damage: Damage) -> Vec<&'static str> {
    let parts = [(damage.arguments, "arguments"), (damage.outcome, "outcome")];
    parts.into_iter().filter(|(is_damaged, _)| *is_damaged).map(|(_, name)| name).collect()
}

/// What the client asked for besides the call itself.
fn call(it: &mut Object<'_>, spec: &Spec) {
    if spec.options.manual {
        it.flag(m!("manual"), true);
        it.null(m!("queue"));
    } else {
        it.word(m!("queue"), &[spec.queue.as_str()]);
    }
    it.number(m!("priority"), spec.priority.get());
    match spec.tags.as_slice() {
        [] => it.none_of(m!("tags"), "[]"),
        tags => it.value(m!("tags"), &tags),
    }
    match spec.metadata.as_slice() {
        [] => it.none_of(m!("metadata"), "{}"),
        _ => it.value(m!("metadata"), &MetadataBody(&spec.metadata)),
    }
    it.word(m!("on_interrupt"), &[spec.on_interrupt.as_str()]);
}

fn times(it: &mut Object<'_>, job: &Job) {
    let created_at = job.spec.created_at;
    let shown = |at: Timestamp| job.spec.shown(at);
    // What it waits for now, or else what it was to wait for first; a manual job does not start.
    let options = &job.spec.options;
    let at_once = (!options.manual).then_some(RunAt::Monotonic(created_at));
    let run_at = job.run_at.or(options.start_at).or(at_once).map(|at| match at {
        RunAt::Wall(at) => at,
        RunAt::Monotonic(at) => shown(at),
    });
    let ended_at = job.finished_at.filter(|_| job.started_at.is_some());
    it.at(m!("created_at"), Some(shown(created_at)));
    it.at(m!("run_at"), run_at);
    it.at(m!("started_at"), job.started_at.map(shown));
    it.at(m!("finished_at"), job.finished_at.map(shown));
    it.at(m!("expires_at"), job.expires_at.map(shown));
    it.maybe_number(m!("queued_ms"), job.started_at.map(|at| at.millis_since(created_at)));
    let run_ms = ended_at.zip(job.started_at).map(|(end, start)| end.millis_since(start));
    it.maybe_number(m!("run_ms"), run_ms);
    it.at(m!("cancel_requested_at"), job.cancel_requested_at.map(shown));
}

fn urls(it: &mut Object<'_>, id: &str) {
    const JOBS: &str = "/v1/jobs/";
    let below = prefix();
    let mut urls = it.object(m!("urls"));
    urls.word(m!("self"), &[below, JOBS, id]);
    urls.word(m!("result"), &[below, JOBS, id, "/result"]);
    urls.word(m!("exception"), &[below, JOBS, id, "/exception"]);
    urls.word(m!("cancel"), &[below, JOBS, id, "/cancel"]);
    urls.word(m!("callbacks"), &[below, JOBS, id, "/callbacks"]);
    urls.word(m!("log"), &[below, JOBS, id, "/log"]);
    urls.word(m!("events"), &[below, JOBS, id, "/events"]);
    urls.end();
}
