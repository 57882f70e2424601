//! `?fields=state,done`: only these members of a job.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::problem::Problem;
use super::wait::bad_query;

/// Every member that a job may have, in the order in which they are shown.
const NAMES: [&str; 37] = [
    "id",
    "function",
    "args",
    "kwargs",
    "queue",
    "priority",
    "tags",
    "metadata",
    "on_interrupt",
    "state",
    "done",
    "version",
    "result",
    "error",
    "attempt",
    "max_attempts",
    "attempts",
    "interruptions",
    "progress",
    "created_at",
    "run_at",
    "started_at",
    "finished_at",
    "expires_at",
    "queued_ms",
    "run_ms",
    "cancel_requested_at",
    "batch",
    "retry_of",
    "callbacks",
    "urls",
    "args_omitted",
    "kwargs_omitted",
    "result_omitted",
    "error_omitted",
    "attempts_omitted",
    "damaged",
];

/// Whoever asks for more may as well have the whole job.
const COUNT_MAX: usize = 20;

/// The members that a request asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members(Vec<&'static str>);

impl Members {
    /// Reads the parameter `fields`; none if it is not there.
    pub(super) fn read(parameter: Option<&str>) -> Result<Option<Self>, Problem> {
        let Some(list) = parameter else { return Ok(None) };
        let mut members = Vec::new();
        for name in list.split(',').map(str::trim) {
            let known = NAMES.into_iter().find(|known| *known == name).ok_or_else(|| {
                let names = NAMES.join(", ");
                bad_query(format!("a job has no field '{name}'; there are: {names}"))
            })?;
            members.push(known);
        }
        if members.len() > COUNT_MAX {
            let detail =
                format!("at most {COUNT_MAX} fields can be named; leave 'fields' out instead");
            return Err(bad_query(detail));
        }
        Ok(Some(Self(members)))
    }

    /// A job's text with these members only, each as it stands.
    pub(super) fn of(&self, job: &str) -> String {
        let all: BTreeMap<&str, &RawValue> = serde_json::from_str(job).unwrap_or_default();
        let wanted = NAMES.into_iter().filter(|name| self.0.contains(name));
        let members: Vec<String> = wanted
            .filter_map(|name| Some(format!("\"{name}\":{}", all.get(name)?.get())))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Damage, Job, example};
    use crate::http::job_body::{JobBody, View};

    #[test]
    fn the_names_are_those_that_a_job_is_shown_with() {
        let damage = Damage { arguments: true, outcome: true };
        let job = Job { result_omitted: true, damage, ..example::running() };
        let callbacks = Some(crate::domain::StateCounts::default());
        let text = JobBody::of(&job, View::Whole).telling(callbacks).text();
        let shown: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).expect("an object");
        for name in shown.keys() {
            assert!(NAMES.contains(name), "{name} cannot be asked for");
        }
        for name in NAMES.iter().filter(|name| !name.ends_with("_omitted")) {
            assert!(shown.contains_key(name), "{name} is not there");
        }
    }

    #[test]
    fn what_was_asked_for_is_shown_as_it_stands_and_nothing_else() {
        let members = Members::read(Some("done, state")).expect("names").expect("some");
        let job = r#"{"id":"x","state":"running","done":false,"args":[1.50]}"#;
        assert_eq!(members.of(job), r#"{"state":"running","done":false}"#);
        assert_eq!(Members::read(None).expect("nothing asked"), None);
        for list in ["", "state,", "State", "state,nothing"] {
            assert!(Members::read(Some(list)).is_err(), "{list:?}");
        }
    }
}
