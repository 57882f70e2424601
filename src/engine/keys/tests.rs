//! Keys as they are made, taken back and read.

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn new(scopes: &[Scope], expires_at: Option<Timestamp>) -> NewKey {
    NewKey {
        name: String::new(),
        scopes: scopes.iter().copied().map(Grant::from).collect(),
        expires_at,
    }
}

/// What the keys of a directory say at this moment.
async fn verdict(directory: &Path, given: Option<&str>, needed: Scope, at: i64) -> Verdict {
    let door = Keys::new(directory).door();
    door.looks().at(Timestamp(at));
    door.verdict(given, needed.into()).await
}

fn write(directory: &Path, text: &str) {
    write_private(&directory.join(FILE), text).expect("a file");
}

#[tokio::test]
async fn a_key_holds_until_the_moment_of_its_end_and_follows_a_clock_that_is_set() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::new(directory.path());
    let ends = new(&[Scope::Read], Some(Timestamp(5_000)));
    let (key, text) = keys.create(ends, NOW).expect("a key");
    let door = keys.door();
    for (at, expected) in [
        (4_999, Verdict::Key(key.id.clone())),
        (5_000, Verdict::Expired),
        (4_999, Verdict::Key(key.id.clone())),
    ] {
        door.looks().at(Timestamp(at));
        assert_eq!(door.verdict(Some(&text), Scope::Read.into()).await, expected, "at {at}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_say_what_it_allows_allows_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = format!(
        r#"{{"keys":[{{"id":"ab","name":"old","created_at_ms":1,"sha256":"{}"}}]}}"#,
        String::from(Digest::of("fut_ab_cd"))
    );
    write(directory.path(), &old);
    for scope in [Scope::Submit, Scope::Read, Scope::Manage, Scope::Admin] {
        let found = verdict(directory.path(), Some("fut_ab_cd"), scope, i64::MAX).await;
        assert_eq!(found, Verdict::Forbidden("ab".to_owned(), BTreeSet::new()));
    }
}

#[tokio::test]
async fn what_is_not_there_opens_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = async || verdict(directory.path(), None, Scope::Read, 0).await;
    assert_eq!(at().await, Verdict::Locked, "no file");
    for (text, expected) in [
        (r#"{"keys":[]}"#, Verdict::Locked),
        (r#"{"keys":[],"open":false}"#, Verdict::Locked),
        (r#"{"keys":[],"open":true}"#, Verdict::Open),
    ] {
        write(directory.path(), text);
        assert_eq!(at().await, expected, "{text}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_opens_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let no_digest = |digits: &str| {
        format!(r#"{{"keys":[{{"id":"ab","name":"","created_at_ms":1,"sha256":"{digits}"}}]}}"#)
    };
    let broken =
        ["", "{", r#"{"keys":[{"id":"ab"}]}"#, r#"{"keys":[],"scopes":"#, r#"{"open":true}"#];
    let digests = [String::new(), "0".repeat(63), "0".repeat(65), "x".repeat(64), "é".repeat(32)];
    for broken in broken.into_iter().map(str::to_owned).chain(digests.map(|it| no_digest(&it))) {
        write(directory.path(), &broken);
        let found = verdict(directory.path(), None, Scope::Read, 0).await;
        assert_eq!(found, Verdict::Unreadable, "{broken}");
    }
    write(directory.path(), r#"{"keys":[],"open":true}"#);
    assert_eq!(verdict(directory.path(), None, Scope::Read, 0).await, Verdict::Open, "read anew");
}

#[tokio::test]
async fn only_a_word_opens_and_the_first_key_takes_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::new(directory.path());
    let standing = || keys.standing(NOW).expect("a file");
    assert_eq!(standing(), Standing::Locked);
    keys.begin_open().expect("a word");
    assert_eq!(standing(), Standing::Open);
    let (key, _) = keys.create(new(&[Scope::Read], None), NOW).expect("a key");
    assert_eq!(standing(), Standing::Keyed);
    keys.begin_open().expect("nothing is to be done");
    assert_eq!(standing(), Standing::Keyed, "no file of keys is written over");
    let refused = keys.open(NOW).expect_err("there is a key");
    assert!(refused.to_string().contains("there are 1 keys that work"), "{refused}");
    assert_eq!(keys.revoke(&key.id).expect("a change"), Some(0));
    assert_eq!(standing(), Standing::Locked);
    assert_eq!(keys.open(NOW).expect("a word"), 0);
    assert_eq!(standing(), Standing::Open);
}

#[test]
fn a_key_counts_as_long_as_it_works_wherever_that_is_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::new(directory.path());
    let at = |now: i64| keys.standing(Timestamp(now)).expect("a file");
    keys.create(new(&[], None), NOW).expect("a key that allows nothing");
    assert_eq!(at(1_000), Standing::NoneWorks);
    keys.create(new(&[Scope::Read], Some(Timestamp(5_000))), NOW).expect("a key");
    let until = |now: i64| {
        let table = keys.table.load().expect("a file");
        table.at(Timestamp(now)).unwrap_or(table).until()
    };
    assert_eq!((at(4_999), until(4_999)), (Standing::Keyed, Some(5_000)));
    keys.open(Timestamp(4_999)).expect_err("one of them works");
    assert_eq!((at(5_000), until(5_000)), (Standing::NoneWorks, None));
    let (lasting, _) = keys.create(new(&[Scope::Read], None), NOW).expect("a key");
    assert_eq!((at(5_000), until(4_999)), (Standing::Keyed, None), "one has no end");
    keys.revoke(&lasting.id).expect("a change");
    // That time goes by opens nothing: only the word does.
    assert_eq!(at(i64::MAX), Standing::NoneWorks);
    assert_eq!(keys.open(Timestamp(5_000)).expect("a word"), 2);
    assert_eq!(at(4_999), Standing::Open, "they are gone");
}

#[tokio::test]
async fn who_asks_before_anybody_has_looked_waits_for_the_look() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::new(directory.path());
    keys.begin_open().expect("a word");
    let door = keys.door();
    let asking = door.clone();
    let asked = tokio::spawn(async move { asking.verdict(None, Scope::Read.into()).await });
    tokio::task::yield_now().await;
    assert!(!asked.is_finished(), "what nobody has looked at says nothing");
    door.looks().at(NOW);
    assert_eq!(asked.await.expect("a task"), Verdict::Open);
}

#[test]
fn there_is_a_limit_of_keys() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = Keys::new(directory.path());
    let key = keys.create(new(&[Scope::Read], None), NOW).expect("a key").0;
    let full = Table { keys: vec![key; KEYS_MAX], open: false };
    write(directory.path(), &serde_json::to_string(&full).expect("JSON"));
    let refused = keys.create(new(&[Scope::Read], None), NOW).expect_err("one too many");
    assert!(refused.to_string().contains("1000 keys"), "{refused}");
}
