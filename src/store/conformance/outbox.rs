//! Receivers take turns; what they have to get, and what became of it, is counted.

use crate::domain::callback::CallbackState;
use crate::domain::{
    Callback, CallbackId, DeliveryState, Job, NewCallback, Ordinal, ReceiverHealth, Tier,
};
use crate::store::{CallbackFilter, CallbackQuery, DeliveryReport, DueDelivery};
use uuid::Uuid;

use super::callbacks::{all_due, callbacks, due, new, only_due, report, with_callbacks};
use super::{Figure, NOW, TestStore, Timestamp, returned};

const LATER: Timestamp = Timestamp(NOW.0 + 5_000);
const DAY_MS: i64 = 86_400_000;

fn to(host: &str, number: u128) -> NewCallback {
    NewCallback { host: host.to_owned(), ..new(number) }
}

/// A job that is done, with these callbacks.
async fn done_with(it: &TestStore, number: u64, callbacks: Vec<NewCallback>) -> Job {
    let job = it.put(with_callbacks(number, callbacks)).await.expect("a job");
    it.settle(&job, returned()).await.expect("a running job");
    job
}

async fn turns(it: &TestStore, now: Timestamp, tier: Tier) -> Vec<(String, ReceiverHealth)> {
    let mut outbox = it.store.outbox(now).await.expect("a look");
    let turns = outbox.receivers(tier, 100).await.expect("they read");
    turns.into_iter().map(|turn| (turn.host, turn.health)).collect()
}

fn named(turns: &[(&str, ReceiverHealth)]) -> Vec<(String, ReceiverHealth)> {
    turns.iter().map(|(host, health)| ((*host).to_owned(), *health)).collect()
}

async fn record(it: &TestStore, report: DeliveryReport) {
    it.store.record_delivery(report).await.expect("recorded");
}

fn at(health: ReceiverHealth, ended_at: Timestamp, report: DeliveryReport) -> DeliveryReport {
    DeliveryReport { health, now: ended_at, ..report }
}

async fn due_to(it: &TestStore, host: &str, held_from: Timestamp) -> Vec<DueDelivery> {
    let mut outbox = it.store.outbox(LATER).await.expect("a look");
    outbox.due(host, held_from, 100).await.expect("they read")
}

async fn next_turn_at(it: &TestStore, now: Timestamp) -> Option<Timestamp> {
    let mut outbox = it.store.outbox(now).await.expect("a look");
    outbox.next_turn_at().await.expect("it reads")
}

#[tokio::test]
async fn a_receiver_has_a_turn_while_it_has_something_to_get_and_stands_behind_those_that_waited() {
    let it = TestStore::of_workers(3).await;
    for number in 1..=2 {
        let both = vec![to("a:80", 2 * number), to("b:80", 2 * number + 1)];
        done_with(&it, u64::try_from(number).expect("small"), both).await;
    }
    assert_eq!(
        turns(&it, NOW, Tier::New).await,
        named(&[("a:80", ReceiverHealth::New), ("b:80", ReceiverHealth::New)])
    );
    assert!(turns(&it, NOW, Tier::Quick).await.is_empty());
    assert_eq!(next_turn_at(&it, NOW).await, None, "all are due now");

    let first = due_to(&it, "a:80", NOW).await.remove(0);
    let slow = at(ReceiverHealth::Slow, LATER, report(&first, DeliveryState::Delivered, None));
    record(&it, slow).await;
    assert_eq!(
        turns(&it, LATER, Tier::Tried).await,
        named(&[("a:80", ReceiverHealth::Slow)]),
        "one more"
    );
    let just_before = Timestamp(LATER.0 - 1);
    assert!(turns(&it, just_before, Tier::Tried).await.is_empty(), "after those that waited");
    let second = due_to(&it, "a:80", NOW).await.remove(0);
    record(&it, at(ReceiverHealth::Quick, LATER, report(&second, DeliveryState::Delivered, None)))
        .await;
    assert_eq!(turns(&it, LATER, Tier::New).await, named(&[("b:80", ReceiverHealth::New)]));
    assert!(turns(&it, LATER, Tier::Quick).await.is_empty(), "it has nothing more to get");

    done_with(&it, 3, vec![to("a:80", 9)]).await;
    assert_eq!(
        turns(&it, LATER, Tier::Quick).await,
        named(&[("a:80", ReceiverHealth::Quick)]),
        "it is known"
    );
}

#[tokio::test]
async fn a_receivers_turn_is_when_its_earliest_delivery_is_due() {
    let it = TestStore::of_workers(2).await;
    for number in 1..=2 {
        done_with(&it, u64::try_from(number).expect("small"), vec![to("a:80", number)]).await;
    }
    for (place, next_at) in [(1, 60_000), (2, 50_000)] {
        let due = all_due(&it, NOW).await.remove(0);
        assert_eq!(due.id, CallbackId(Uuid::from_u128(place)));
        record(&it, report(&due, DeliveryState::Pending, Some(Timestamp(next_at)))).await;
    }
    assert!(turns(&it, LATER, Tier::Quick).await.is_empty());
    let next = next_turn_at(&it, LATER).await;
    assert_eq!(next, Some(Timestamp(50_000)));
    let dropped = it.store.remove_callback(CallbackId(Uuid::from_u128(2)), LATER).await;
    assert!(dropped.expect("an answer"));
    let next = next_turn_at(&it, LATER).await;
    assert_eq!(next, Some(Timestamp(60_000)));
}

#[tokio::test]
async fn f13_a_callback_waits_for_an_earlier_one_that_goes_elsewhere_only_for_a_while() {
    let it = TestStore::of_workers(1).await;
    done_with(&it, 1, vec![to("a:80", 1), to("b:80", 2), to("a:80", 3)]).await;
    let before = Timestamp(NOW.0 - 1);
    assert_eq!(due_to(&it, "a:80", before).await.len(), 1);
    assert!(due_to(&it, "b:80", before).await.is_empty(), "in the order added");
    assert_eq!(due_to(&it, "b:80", NOW).await.len(), 1, "nobody waits for a receiver that hangs");
    assert_eq!(due_to(&it, "a:80", NOW).await.len(), 1, "to the same one, always in order");
}

#[tokio::test]
async fn a_delivery_that_a_clock_ahead_of_ours_has_planned_waits_no_longer_than_a_schedule_can() {
    let it = TestStore::of_workers(1).await;
    let job = done_with(&it, 1, vec![to("a:80", 1)]).await;
    let far = Timestamp(NOW.0 + 400 * DAY_MS);
    record(&it, report(&only_due(&it).await, DeliveryState::Pending, Some(far))).await;
    let it = it.reopened().await;
    let planned = callbacks(&it, &job).await.remove(0).delivery.expect("a delivery").next_at;
    assert_eq!(planned, Some(NOW.plus_millis(DAY_MS)));
    assert_eq!(next_turn_at(&it, NOW).await, planned);
    let soon = NOW.plus_millis(1_000);
    let again = only_due_at(&it, NOW.plus_millis(DAY_MS)).await;
    record(&it, report(&again, DeliveryState::Pending, Some(soon))).await;
    let it = it.reopened().await;
    assert_eq!(next_turn_at(&it, NOW).await, Some(soon), "it survives as it is");
}

async fn only_due_at(it: &TestStore, now: Timestamp) -> DueDelivery {
    let mut due = all_due(it, now).await;
    assert_eq!(due.len(), 1, "{due:?}");
    due.remove(0)
}

#[tokio::test]
async fn a_receiver_that_has_had_nothing_for_a_day_is_forgotten() {
    let it = TestStore::of_workers(1).await;
    done_with(&it, 1, vec![to("a:80", 1)]).await;
    record(&it, report(&only_due(&it).await, DeliveryState::Delivered, None)).await;
    let known = Figure::Receivers;
    let clean = async |now| it.store.sweep(now, crate::store::SweepCursor::NOTHING).await;
    clean(NOW.plus_millis(DAY_MS)).await.expect("a pass");
    assert_eq!(it.number(known), 1);
    clean(NOW.plus_millis(DAY_MS + 1)).await.expect("a pass");
    assert_eq!(it.number(known), 0);
}

/// The numbers of the callbacks that pass, page by page.
async fn found(it: &TestStore, filter: &CallbackFilter, page: usize) -> Vec<u128> {
    let query = CallbackQuery::Matching(filter.clone());
    let (mut numbers, mut below) = (Vec::new(), None);
    loop {
        let places = it.store.callback_places(&query, below, page).await.expect("they read");
        assert!(places.places.len() <= page);
        let callbacks = it.store.callbacks_at(&places.places).await.expect("they read");
        numbers.extend(callbacks.iter().map(|callback: &Callback| callback.id.0.as_u128()));
        below = places.next;
        if below.is_none() {
            return numbers;
        }
    }
}

async fn counts(it: &TestStore) -> [usize; 5] {
    let counts = it.store.callback_states(None).await.expect("they read");
    CallbackState::ALL.map(|state| counts.of(state))
}

#[tokio::test]
async fn callbacks_are_found_by_state_and_receiver_and_their_deliveries_are_counted() {
    let it = TestStore::of_workers(1).await;
    let later = NewCallback { created_at: LATER, ..to("b:80", 3) };
    let job = done_with(&it, 1, vec![to("a:80", 1), to("a:80", 2), later, to("b:80", 4)]).await;
    it.put(with_callbacks(2, vec![to("a:80", 5)])).await.expect("a job");
    assert_eq!(counts(&it).await, [0, 4, 0, 0, 0], "what waits has no delivery yet");
    for state in [DeliveryState::Failed, DeliveryState::Delivered, DeliveryState::Failed] {
        record(&it, report(&all_due(&it, LATER).await.remove(0), state, None)).await;
    }
    let of = |state| CallbackFilter { state: Some(state), ..CallbackFilter::default() };
    let failed = of(CallbackState::Failed);
    for page in [1, 2, 50] {
        assert_eq!(found(&it, &CallbackFilter::default(), page).await, [5, 4, 3, 2, 1]);
        assert_eq!(found(&it, &failed, page).await, [3, 1]);
        assert_eq!(found(&it, &of(CallbackState::Delivered), page).await, [2]);
        assert_eq!(found(&it, &of(CallbackState::Pending), page).await, [4]);
        assert_eq!(found(&it, &of(CallbackState::Waiting), page).await, [5]);
    }
    let to_a = CallbackFilter { host: Some("a:80".to_owned()), ..failed.clone() };
    assert_eq!(found(&it, &to_a, 9).await, [1]);
    let late = CallbackFilter { created_after: Some(NOW), ..failed.clone() };
    assert_eq!(found(&it, &late, 9).await, [3]);
    let early = CallbackFilter { created_before: Some(LATER), ..failed.clone() };
    assert_eq!(found(&it, &early, 9).await, [1]);
    assert_eq!(counts(&it).await, [0, 1, 1, 2, 0]);
    let its = it.store.callback_states(Some(job.ordinal)).await.expect("they read");
    assert_eq!(CallbackState::ALL.map(|state| its.of(state)), [0, 1, 1, 2, 0]);
    let it = it.reopened().await;
    assert_eq!(counts(&it).await, [0, 1, 1, 2, 0]);
}

#[tokio::test]
async fn f16_many_are_told_once_more_and_those_that_are_not_over_stay_as_they_are() {
    let mut it = TestStore::of_workers(2).await;
    let job = done_with(&it, 1, vec![to("a:80", 1), to("b:80", 2), to("c:80", 3)]).await;
    let waits = it.put(with_callbacks(2, vec![to("a:80", 4)])).await.expect("a job");
    for state in [DeliveryState::Failed, DeliveryState::Disabled] {
        record(&it, report(&all_due(&it, LATER).await.remove(0), state, None)).await;
    }
    it.heard_of_deliveries();
    let all: Vec<Ordinal> = (1..=5).map(Ordinal).collect();
    assert_eq!(it.store.redeliver(all.clone(), NOW).await.expect("an answer"), 2);
    assert!(it.heard_of_deliveries());
    assert_eq!(counts(&it).await, [0, 3, 0, 0, 0]);
    assert_eq!(due(&it, LATER).await.len(), 3, "each receiver has a turn again");
    assert_eq!(it.store.redeliver(all, NOW).await.expect("an answer"), 0);
    assert!(!it.heard_of_deliveries());
    assert_eq!(callbacks(&it, &waits).await[0].state(), CallbackState::Waiting);
    assert_eq!(callbacks(&it, &job).await.len(), 3);
}
