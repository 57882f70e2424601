//! Every way in which an attempt can end, and what its job becomes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{Json, Ordinal, Spec, example};

const NOW: Timestamp = Timestamp(3_000);
const BOTH: &[bool] = &[false, true];
const EITHER: &[OnInterrupt] = &[OnInterrupt::Rerun, OnInterrupt::Fail];
const RERUN: &[OnInterrupt] = &[OnInterrupt::Rerun];
const FAIL: &[OnInterrupt] = &[OnInterrupt::Fail];
/// Deaths of the server during this job before the attempt that ends now.
const ANY: &[u32] = &[0, 1, 2];

#[derive(Clone, Copy, Debug)]
enum How {
    Returned,
    Raised,
    Cancelled,
    Stopped,
    Crashed,
}
use How::{Cancelled, Crashed, Raised, Returned, Stopped};

/// How it ended, whether a cancel was requested, what was asked for interruptions, deaths before, the
/// next state, and the error's type.
type Row =
    (How, &'static [bool], &'static [OnInterrupt], &'static [u32], State, Option<&'static str>);

const TABLE: &[Row] = &[
    (Returned, BOTH, EITHER, ANY, State::Succeeded, None),
    (Raised, &[false], EITHER, ANY, State::Failed, Some("ValueError")),
    (Raised, &[true], EITHER, ANY, State::Cancelled, None),
    (Cancelled, BOTH, EITHER, ANY, State::Cancelled, None),
    (Stopped, &[false], RERUN, ANY, State::Pending, None),
    (Stopped, &[false], FAIL, ANY, State::Failed, Some("interrupted")),
    (Stopped, &[true], EITHER, ANY, State::Cancelled, None),
    (Crashed, &[false], RERUN, &[0, 1], State::Pending, None),
    (Crashed, &[false], FAIL, &[0, 1], State::Failed, Some("interrupted")),
    (Crashed, &[false], EITHER, &[2], State::Failed, Some("crash_loop")),
    (Crashed, &[true], EITHER, ANY, State::Cancelled, None),
];

fn outcome(how: How) -> Outcome {
    match how {
        Returned => Outcome::Returned(Json::trusted("1")),
        Raised => Outcome::Raised(JobError::new("ValueError", "no")),
        Cancelled => Outcome::Cancelled,
        Stopped => Outcome::Stopped,
        Crashed => Outcome::Crashed,
    }
}

fn running(on_interrupt: OnInterrupt, cancel_requested: bool, crashes: u32) -> Job {
    let job = example::running();
    Job {
        spec: Arc::new(Spec { on_interrupt, ..(*job.spec).clone() }),
        cancel_requested_at: cancel_requested.then_some(Timestamp(2_500)),
        crashes,
        ..job
    }
}

#[test]
fn f4_g9_every_way_to_end_has_its_row_and_its_state() {
    let mut rows = 0;
    for &(how, cancels, choices, deaths, state, error) in TABLE {
        for &cancel_requested in cancels {
            for &on_interrupt in choices {
                for &crashes in deaths {
                    let case = format!("{how:?} {cancel_requested} {on_interrupt:?} {crashes}");
                    let job = running(on_interrupt, cancel_requested, crashes);
                    let next = settle(&job, outcome(how), NOW, 0.5);
                    assert_eq!(next.state, state, "{case}");
                    let kind = next.error.as_ref().map(|error| error.kind().as_str());
                    assert_eq!(kind, error, "{case}");
                    rows += 1;
                }
            }
        }
    }
    assert_eq!(rows, 5 * 2 * 2 * 3, "every combination once");
}

#[test]
fn f5_a_function_that_raises_cancelled_error_itself_has_failed() {
    let error = JobError::new("CancelledError", "my own idea");
    let next = settle(&example::running(), Outcome::Raised(error), NOW, 0.5);
    assert_eq!(next.state, State::Failed);
    let error = next.error.expect("an error");
    assert_eq!((error.kind().as_str(), error.attempt()), ("CancelledError", 1));
}

#[test]
fn g9_a_stop_is_an_interruption_and_only_a_death_counts_as_a_crash() {
    let job = running(OnInterrupt::Rerun, false, 0);
    let stopped = settle(&job, Outcome::Stopped, NOW, 0.5);
    assert_eq!((stopped.interruptions, stopped.crashes), (1, 0));
    let crashed = settle(&job, Outcome::Crashed, NOW, 0.5);
    assert_eq!((crashed.interruptions, crashed.crashes), (1, 1));
    assert_eq!(crashed.attempt, job.attempt, "the attempt is counted by the next claim");
    assert_eq!(crashed.started_at, None);
}

#[test]
fn f3_a_pending_job_that_is_cancelled_is_done_at_once() {
    let job = Job::submitted(Arc::new(example::spec(1)), Ordinal(1));
    let next = cancel_pending(&job, NOW);
    assert_eq!(next.state, State::Cancelled);
    assert_eq!((next.cancel_requested_at, next.finished_at), (Some(NOW), Some(NOW)));
    assert_eq!((next.version, next.attempt, next.error), (2, 0, None));
}

#[test]
fn g19_a_job_never_ends_before_it_began_though_the_clock_was_set_back() {
    let next = settle(&example::running(), Outcome::Cancelled, Timestamp(1), 0.5);
    assert_eq!(next.finished_at, Some(Timestamp(2_000)));
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let error = (".*", ".*").prop_map(|(name, message)| JobError::new(&name, message));
    prop_oneof![
        any::<i64>().prop_map(|value| Outcome::Returned(Json::trusted(value.to_string()))),
        error.prop_map(Outcome::Raised),
        Just(Outcome::Cancelled),
        Just(Outcome::Stopped),
        Just(Outcome::Crashed),
    ]
}

fn any_running_job() -> impl Strategy<Value = Job> {
    let moment = || any::<i64>().prop_map(Timestamp);
    let counts = (1..u32::MAX, any::<u32>(), any::<u32>(), 1..i64::MAX);
    let times = (moment(), proptest::option::of(moment()));
    (counts, times, any::<bool>()).prop_map(|(counts, times, reruns)| {
        let (attempt, interruptions, crashes, version) = counts;
        let (started_at, cancel_requested_at) = times;
        let on_interrupt = if reruns { OnInterrupt::Rerun } else { OnInterrupt::Fail };
        let job = running(on_interrupt, false, crashes);
        let started_at = Some(started_at);
        Job { attempt, interruptions, version, started_at, cancel_requested_at, ..job }
    })
}

proptest! {
    #[test]
    fn s3_no_end_of_an_attempt_is_illegal(
        job in any_running_job(),
        outcome in any_outcome(),
        now in any::<i64>().prop_map(Timestamp),
    ) {
        let next = settle(&job, outcome, now, 0.5);
        prop_assert!(job.state.may_become(next.state));
        prop_assert_eq!(next.version, job.version + 1);
        prop_assert_eq!(next.attempt, job.attempt);
        prop_assert!(next.interruptions >= job.interruptions && next.crashes >= job.crashes);
        prop_assert_eq!(next.result.is_some(), next.state == State::Succeeded);
        prop_assert_eq!(next.error.is_some(), next.state == State::Failed);
        prop_assert_eq!(next.finished_at.is_some(), next.is_done());
        prop_assert!(!next.is_done() || next.finished_at >= next.started_at);
        if let Some(error) = next.error {
            prop_assert_eq!(error.attempt(), job.attempt);
        }
    }
}
