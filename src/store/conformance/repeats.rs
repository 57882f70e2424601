//! Requests that come again make one job (G8), decided in one transaction with it.

use crate::store::Refusal;
use futures_util::future::join_all;

use crate::domain::{Fingerprint, IdempotencyKey, Identity, OwnedKey};

use super::{
    Damage, Error, Figure, Job, Json, NOW, QueueSettings, Spec, State, Submission, TestStore,
    example, returned, submission,
};

fn key(owner: &str, text: &str) -> Option<OwnedKey> {
    let key = IdempotencyKey::new(text).expect("a key");
    Some(OwnedKey { owner: owner.to_owned(), key })
}

/// A request with a key, and a body of this number.
fn keyed(text: &str, body: u8) -> Box<Identity> {
    owned("", text, body)
}

fn owned(owner: &str, text: &str, body: u8) -> Box<Identity> {
    let fingerprint = Fingerprint([body; 32]);
    Box::new(Identity { key: key(owner, text), chooses_id: false, fingerprint })
}

/// A request that chooses its job's id.
fn chosen(body: u8) -> Box<Identity> {
    Box::new(Identity { key: None, chooses_id: true, fingerprint: Fingerprint([body; 32]) })
}

fn both(text: &str, body: u8) -> Box<Identity> {
    Box::new(Identity { key: key("", text), ..*chosen(body) })
}

fn large(number: u64) -> Submission {
    let args = Json::trusted(format!("[\"{}\"]", "x".repeat(600 * 1_024)));
    submission(Spec { args: Some(args), ..example::spec(number) })
}

impl TestStore {
    pub async fn once(&self, number: u64, identity: Box<Identity>) -> Result<Job, Error> {
        let asked = submission(example::spec(number));
        self.put(Submission { identity: Some(identity), ..asked }).await
    }

    /// What the cleaner will do: the job goes, and leaves a trace of its id or none.
    fn loses(&self, job: &Job, leaves_a_tombstone: bool) {
        self.backend.damage(Damage::Gone(job.spec.id, leaves_a_tombstone));
    }
}

#[track_caller]
fn repeats(answer: &Result<Job, Error>, job: &Job) {
    assert!(
        matches!(answer, Err(Error::Refused(Refusal::Repeated(id))) if *id == job.spec.id.0),
        "{answer:?}"
    );
}

#[tokio::test]
async fn g8_the_same_request_with_the_same_key_makes_one_job_also_after_a_restart() {
    let mut it = TestStore::of_workers(3).await;
    let first = it.once(1, keyed("k", 1)).await.expect("a job");
    it.new_events();
    repeats(&it.once(2, keyed("k", 1)).await, &first);
    assert!(it.new_events().is_empty(), "nothing is started for it");
    assert_eq!(it.job(&first).await, first);
    let it = it.reopened().await;
    repeats(&it.once(3, keyed("k", 1)).await, &first);
    it.settle(&it.job(&first).await, returned()).await.expect("it runs again");
    repeats(&it.once(4, keyed("k", 1)).await, &first);
    assert_eq!(it.number(Figure::Jobs), 1);
    assert_eq!(it.number(Figure::IdempotencyKeys), 1);
}

#[tokio::test]
async fn g8_of_64_at_once_one_is_written_and_the_others_find_it() {
    let mut it = TestStore::of_workers(100).await;
    let answers = join_all((1..=64).map(|number| it.once(number, keyed("k", 1)))).await;
    let (new, rest): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let [Ok(job)] = new.as_slice() else { panic!("{} jobs", new.len()) };
    assert_eq!(rest.len(), 63);
    rest.iter().for_each(|answer| repeats(answer, job));
    assert_eq!(it.new_events(), [format!("started {}", job.ordinal.0)]);
    assert_eq!(it.number(Figure::Jobs), 1);
}

#[tokio::test]
async fn g8_a_key_with_another_body_is_refused_and_one_of_another_owner_is_another_key() {
    let it = TestStore::of_workers(3).await;
    let first = it.once(1, owned("a", "k", 1)).await.expect("a job");
    let other = it.once(2, owned("a", "k", 2)).await;
    assert!(
        matches!(other, Err(Error::Refused(Refusal::KeyMismatch(id))) if id == first.spec.id.0),
        "{other:?}"
    );
    let second = it.once(3, owned("b", "k", 2)).await.expect("a job of its own");
    let third = it.once(4, owned("a", "K", 2)).await.expect("case tells keys apart");
    assert_ne!(second.ordinal, third.ordinal);
    assert_eq!(it.number(Figure::Jobs), 3);
}

#[tokio::test]
async fn g8_a_submission_that_is_refused_leaves_no_key() {
    let it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 0 }).await;
    let first = it.submit(1).await;
    let refused = it.once(2, both("k", 1)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::QueueFull { .. }))), "{refused:?}");
    assert_eq!(it.number(Figure::IdempotencyKeys), 0);
    it.settle(&first, returned()).await.expect("a running job");
    // The same key may go to another request now.
    assert_eq!(it.once(2, both("k", 2)).await.expect("a job").state, State::Running);
}

#[tokio::test]
async fn g8_the_key_of_a_job_that_is_gone_says_so() {
    let it = TestStore::of_workers(3).await;
    for leaves_a_tombstone in [false, true] {
        let text = format!("k{leaves_a_tombstone}");
        let number = 1 + u64::from(leaves_a_tombstone);
        let job = it.once(number, keyed(&text, 1)).await.expect("a job");
        it.loses(&job, leaves_a_tombstone);
        let late = it.once(9, keyed(&text, 1)).await;
        assert!(
            matches!(late, Err(Error::Refused(Refusal::Expired(id))) if id == job.spec.id.0),
            "{late:?}"
        );
        let other = it.once(9, keyed(&text, 2)).await;
        assert!(matches!(other, Err(Error::Refused(Refusal::KeyMismatch(_)))), "{other:?}");
    }
    assert_eq!(it.number(Figure::Jobs), 0);
}

#[tokio::test]
async fn g8_a_chosen_id_with_the_same_body_is_the_job_and_with_another_a_conflict() {
    let mut it = TestStore::of_workers(3).await;
    let first = it.once(1, chosen(1)).await.expect("a job");
    it.new_events();
    repeats(&it.once(1, chosen(1)).await, &first);
    let other = it.once(1, chosen(2)).await;
    assert!(matches!(other, Err(Error::Refused(Refusal::IdConflict))), "{other:?}");
    assert!(it.new_events().is_empty(), "nothing is started for either");
    // An id that we drew was chosen by nobody.
    let ours = it.submit(2).await;
    let other = it.once(2, chosen(1)).await;
    assert!(matches!(other, Err(Error::Refused(Refusal::IdConflict))), "{other:?}");
    assert_eq!(it.job(&ours).await, ours);
    it.loses(&first, true);
    let late = it.once(1, chosen(1)).await;
    assert!(
        matches!(late, Err(Error::Refused(Refusal::Expired(id))) if id == first.spec.id.0),
        "{late:?}"
    );
    it.loses(&ours, false);
    it.once(2, chosen(1)).await.expect("an id that was forgotten is free");
}

#[tokio::test]
async fn g8_a_key_is_asked_before_an_id_and_a_repeated_id_takes_a_new_key() {
    let it = TestStore::of_workers(3).await;
    let first = it.once(1, both("k", 1)).await.expect("a job");
    repeats(&it.once(1, both("k", 1)).await, &first);
    let other = it.once(1, both("k", 2)).await;
    assert!(
        matches!(other, Err(Error::Refused(Refusal::KeyMismatch(_)))),
        "the key, not the id: {other:?}"
    );
    // The same request under a second key, and without any.
    repeats(&it.once(1, both("second", 1)).await, &first);
    repeats(&it.once(1, chosen(1)).await, &first);
    let other = it.once(2, keyed("second", 2)).await;
    assert!(
        matches!(other, Err(Error::Refused(Refusal::KeyMismatch(_)))),
        "it is the first's now: {other:?}"
    );
    // A conflict of ids gives the key to nobody.
    let other = it.once(1, both("third", 3)).await;
    assert!(matches!(other, Err(Error::Refused(Refusal::IdConflict))), "{other:?}");
    it.once(3, keyed("third", 3)).await.expect("a job");
    assert_eq!(it.number(Figure::Jobs), 2);
}

#[tokio::test]
async fn g8_what_was_written_ahead_for_a_repetition_or_a_conflict_is_deleted() {
    let it = TestStore::of_workers(100).await;
    let once = |number, identity| it.put(Submission { identity: Some(identity), ..large(number) });
    let first = once(1, both("k", 1)).await.expect("a job");
    let chunks = it.number(Figure::ValuePieces);
    assert!(chunks > 1, "it is kept in pieces");
    let (again, other, id, twin) = tokio::join!(
        biased;
        once(1, both("k", 1)),
        once(2, keyed("k", 2)),
        once(1, chosen(2)),
        once(1, chosen(1))
    );
    repeats(&again, &first);
    repeats(&twin, &first);
    assert!(matches!(other, Err(Error::Refused(Refusal::KeyMismatch(_)))), "{other:?}");
    assert!(matches!(id, Err(Error::Refused(Refusal::IdConflict))), "{id:?}");
    assert_eq!(it.number(Figure::ValuePieces), chunks);
    assert_eq!(it.number(Figure::UnownedValues), 0);
    assert_eq!(it.job(&first).await.spec.args, first.spec.args);
}

#[tokio::test]
async fn a_chosen_id_that_conflicts_fails_alone_and_gives_its_slot_back() {
    let mut it = TestStore::of_workers(3).await;
    let first = it.once(1, chosen(1)).await.expect("a job");
    it.new_events();
    let (twin, second) = tokio::join!(biased; it.once(1, chosen(2)), it.once(2, chosen(2)));
    assert!(matches!(twin, Err(Error::Refused(Refusal::IdConflict))), "{twin:?}");
    let second = second.expect("a job");
    assert_eq!(it.new_events(), [format!("started {}", second.ordinal.0)], "the twin never starts");
    assert_eq!(it.job(&first).await, first);
    assert_eq!(it.submit(3).await.state, State::Running, "in the slot that the twin left");
    assert_eq!(it.submit(4).await.state, State::Pending);
    assert_eq!(it.number(Figure::Jobs), 4);
}

#[tokio::test]
async fn g8_of_two_with_the_same_id_in_one_group_the_first_is_the_job() {
    let mut it = TestStore::of_workers(2).await;
    let (first, second) = tokio::join!(biased; it.once(1, chosen(1)), it.once(1, chosen(2)));
    assert_eq!(first.expect("a job").state, State::Running);
    assert!(matches!(second, Err(Error::Refused(Refusal::IdConflict))), "{second:?}");
    assert_eq!(it.new_events(), ["started 1"]);
    assert_eq!(it.submit(2).await.state, State::Running);
}

#[tokio::test]
async fn a_chosen_id_that_conflicts_takes_no_place_in_the_queue() {
    let mut it = TestStore::with(QueueSettings { max_workers: 1, max_pending: 1 }).await;
    let first = it.once(1, chosen(1)).await.expect("a job");
    let twin = it.once(1, chosen(2)).await;
    assert!(matches!(twin, Err(Error::Refused(Refusal::IdConflict))), "{twin:?}");
    let second = it.submit(2).await;
    it.new_events();
    it.settle(&first, returned()).await.expect("a running job");
    assert_eq!(it.state(&second).await, State::Running);
    assert!(it.new_events().contains(&format!("claimed [{}]", second.ordinal.0)));
    assert_eq!(it.job(&first).await.finished_at, Some(NOW));
}
