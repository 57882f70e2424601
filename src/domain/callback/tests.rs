//! When a delivery is tried again, answer by answer.

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const MIDDLE: f64 = 0.5;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

fn status(status: u16) -> Answer {
    Answer::Status { status, retry_after_seconds: None }
}

fn retry_after(status: u16, seconds: u64) -> Answer {
    Answer::Status { status, retry_after_seconds: Some(seconds) }
}

fn schedule(seconds: &[u32]) -> Schedule {
    Schedule::new(seconds.to_vec()).expect("a schedule")
}

/// Seconds until the next attempt, if there is one.
fn wait_seconds(answer: Answer, attempts: usize, chance: f64) -> Option<i64> {
    let (state, next_at) = Schedule::default().after(attempts, answer, NOW, chance);
    assert_eq!(state == DeliveryState::Pending, next_at.is_some());
    next_at.map(|at| at.millis_since(NOW) / 1_000)
}

#[test]
fn f15_an_answer_of_2xx_is_delivered_and_410_wants_nothing_more() {
    let schedule = Schedule::default();
    for code in [200, 201, 204, 299] {
        let after = schedule.after(1, status(code), NOW, MIDDLE);
        assert_eq!(after, (DeliveryState::Delivered, None), "{code}");
    }
    let gone = retry_after(410, 5);
    assert_eq!(schedule.after(1, gone, NOW, MIDDLE), (DeliveryState::Disabled, None));
}

#[test]
fn f15_every_other_answer_is_tried_again() {
    let others = [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 411, 429, 500, 503];
    for code in others {
        assert_eq!(wait_seconds(status(code), 1, MIDDLE), Some(5), "{code}");
    }
    assert_eq!(wait_seconds(Answer::None, 1, MIDDLE), Some(5));
}

#[test]
fn f15_the_default_schedule_is_that_of_standard_webhooks() {
    let waits: Vec<Option<i64>> =
        (1..=10).map(|attempts| wait_seconds(Answer::None, attempts, MIDDLE)).collect();
    let expected =
        [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Some).into_iter();
    assert_eq!(waits, expected.chain([None]).collect::<Vec<_>>());
}

#[test]
fn f15_at_the_end_of_the_schedule_a_delivery_has_failed() {
    let twice = schedule(&[0, 0]);
    assert_eq!(twice.after(1, status(500), NOW, MIDDLE), (DeliveryState::Pending, Some(NOW)));
    for attempts in [2, 3, usize::MAX] {
        let after = twice.after(attempts, retry_after(503, 1), NOW, MIDDLE);
        assert_eq!(after, (DeliveryState::Failed, None));
    }
}

#[test]
fn f15_retry_after_is_heeded_of_429_and_503_only() {
    for code in [429, 503] {
        assert_eq!(wait_seconds(retry_after(code, HOUR), 1, MIDDLE), Some(3_600), "{code}");
    }
    for code in [301, 400, 408, 500, 502, 504] {
        assert_eq!(wait_seconds(retry_after(code, HOUR), 1, MIDDLE), Some(5), "{code}");
    }
}

#[test]
fn f15_retry_after_lengthens_a_wait_up_to_a_day_and_never_shortens_it() {
    assert_eq!(wait_seconds(retry_after(503, 0), 1, MIDDLE), Some(5));
    assert_eq!(wait_seconds(retry_after(503, 4), 1, MIDDLE), Some(5));
    assert_eq!(wait_seconds(retry_after(503, 6), 1, MIDDLE), Some(6));
    assert_eq!(wait_seconds(retry_after(503, DAY), 1, MIDDLE), Some(86_400));
    assert_eq!(wait_seconds(retry_after(503, DAY + 1), 1, MIDDLE), Some(86_400));
    assert_eq!(wait_seconds(retry_after(503, u64::MAX), 1, MIDDLE), Some(86_400));
}

#[test]
fn f15_chance_spreads_a_wait_by_a_fifth_each_way() {
    assert_eq!(wait_seconds(Answer::None, 2, 0.0), Some(240));
    assert_eq!(wait_seconds(Answer::None, 2, MIDDLE), Some(300));
    assert_eq!(wait_seconds(Answer::None, 2, 1.0), Some(360));
}

#[test]
fn a_callback_stands_where_its_delivery_stands() {
    let of = |delivery: Option<DeliveryState>| {
        let delivery = delivery.map(|state| Delivery {
            state,
            next_at: None,
            deaths: 0,
            attempts: vec![],
            earlier_attempts: 0,
        });
        let (id, owner) = (CallbackId(Uuid::nil()), Owner::Job(JobId(Uuid::nil())));
        let url = String::new();
        Callback { id, owner, url, url_omitted: false, created_at: NOW, when: None, delivery }
            .state()
            .as_str()
    };
    assert_eq!(of(None), "waiting");
    for state in DeliveryState::ALL {
        assert_eq!(of(Some(state)), state.as_str());
        assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
    }
    assert_eq!(DeliveryState::parse("waiting"), None);
}

#[test]
fn a_schedule_begins_at_once_and_has_its_limits() {
    let longest = Schedule::WAIT_SECONDS_MAX;
    assert_eq!(schedule(&[0, longest]).seconds(), [0, longest]);
    assert_eq!(schedule(&[0, longest]).longest_wait_ms(), i64::from(longest) * 1_200);
    assert_eq!(schedule(&[0]).longest_wait_ms(), 86_400_000, "a receiver may ask for a day");
    let refused = [
        (vec![], "must name 1 to 100 waits"),
        (vec![0; 101], "must name 1 to 100 waits"),
        (vec![5], "must begin with 0: the first attempt is made at once"),
        (vec![0, longest + 1], "has a wait of more than 2592000 seconds (30 days)"),
    ];
    for (seconds, why) in refused {
        assert_eq!(Schedule::new(seconds).unwrap_err().detail, why);
    }
}

#[test]
fn callbacks_are_counted_by_state() {
    let mut counts = StateCounts::default();
    assert!(counts.is_empty());
    for (number, state) in CallbackState::ALL.into_iter().enumerate() {
        counts.add(state, number);
        assert_eq!(CallbackState::parse(state.as_str()), Some(state));
    }
    assert_eq!(CallbackState::ALL.map(|state| counts.of(state)), [0, 1, 2, 3, 4]);
    assert!(!counts.is_empty());
    let over = CallbackState::ALL.map(CallbackState::is_over);
    assert_eq!(over, [false, false, true, true, true]);
}

proptest! {
    #[test]
    fn f15_no_wait_leaves_its_bounds(
        seconds in 0..=Schedule::WAIT_SECONDS_MAX,
        chance in prop_oneof![0.0..1.0, Just(f64::NAN), Just(-1.0), Just(2.0)],
        asked in proptest::option::of(any::<u64>()),
        now in any::<i64>(),
    ) {
        let answer = Answer::Status { status: 429, retry_after_seconds: asked };
        let (state, next_at) = schedule(&[0, seconds]).after(1, answer, Timestamp(now), chance);
        prop_assert_eq!(state, DeliveryState::Pending);
        let next_at = next_at.expect("a next attempt");
        let planned = i64::from(seconds) * 1_000;
        let asked = i64::try_from(asked.unwrap_or(0).min(DAY)).unwrap() * 1_000;
        // NaN is no chance that is ever drawn, but it must not break the bounds either.
        let least = (planned * 4 / 5).max(asked);
        let most = (planned * 6 / 5).max(asked);
        prop_assert!(next_at <= Timestamp(now).plus_millis(most));
        prop_assert!(chance.is_nan() || next_at >= Timestamp(now).plus_millis(least));
    }
}
