//! Reads what strace has seen of a server: which rows were on disk before their answers left.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

const LOG_OF_COMMITS: &str = "futurity.db-wal>";
const ACCEPTED: &str = "\"HTTP/1.1 202 ";
const JOB_PATH: &str = "/v1/jobs/";
const UUID_LENGTH: usize = 36;
/// Bytes that are alike in the ids of some minutes: the high part of their time.
const TIME_BYTES: usize = 4;
/// One byte of a string, as `strace -x` writes it.
const BYTE_LENGTH: usize = r"\x00".len();

/// A system call. The places are lines of the trace, so they tell what came before what.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
    result: &'a str,
    entered: usize,
    left: usize,
}

/// What a trace says of the answers in it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The jobs of all 202s.
    pub answered: BTreeSet<Uuid>,
    /// Those whose row was never seen on its way to the log.
    pub unwritten: Vec<Uuid>,
    /// Those whose 202 left before a sync that began after the row was written had ended.
    pub early: Vec<Uuid>,
    /// Syncs of the log.
    pub syncs: usize,
}

/// Judges every 202 of a trace.
pub fn judge(trace: &str) -> Verdict {
    let calls = calls(trace);
    let answers: Vec<(usize, Uuid)> = calls.iter().filter_map(answer).collect();
    let syncs: Vec<(usize, usize)> = calls.iter().filter_map(sync).collect();
    let written = first_writes(&calls, answers.iter().map(|(_, id)| *id));
    let mut verdict = Verdict { syncs: syncs.len(), ..Verdict::default() };
    for (sent, id) in answers {
        verdict.answered.insert(id);
        let Some(row) = written.get(&id) else {
            verdict.unwritten.push(id);
            continue;
        };
        let covers = |(entered, left): &(usize, usize)| row < entered && *left < sent;
        if !syncs.iter().any(covers) {
            verdict.early.push(id);
        }
    }
    verdict
}

/// All calls, in the order in which they ended.
fn calls(trace: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, Call<'_>> = HashMap::new();
    for (place, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some(call) = unfinished.remove(thread) {
                calls.push(Call { result: result(resumed), left: place, ..call });
            }
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        let call = Call { name, arguments, result: "", entered: place, left: place };
        if arguments.ends_with("<unfinished ...>") {
            unfinished.insert(thread, call);
        } else {
            calls.push(Call { result: result(arguments), ..call });
        }
    }
    calls
}

/// What stands behind the last equals sign.
fn result(text: &str) -> &str {
    text.rsplit_once(" = ").map_or("", |(_, result)| result)
}

/// A 202 that was handed to the kernel: where that began, and its job.
fn answer(call: &Call<'_>) -> Option<(usize, Uuid)> {
    let sends = matches!(call.name, "write" | "writev" | "sendto" | "sendmsg");
    let text = call.arguments;
    let head = sends.then(|| text.find(ACCEPTED)).flatten()?;
    let id = head + text[head..].find(JOB_PATH)? + JOB_PATH.len();
    let id = Uuid::parse_str(text.get(id..id + UUID_LENGTH)?).ok()?;
    Some((call.entered, id))
}

/// A sync of the log that succeeded: where it began and ended.
fn sync(call: &Call<'_>) -> Option<(usize, usize)> {
    let syncs = matches!(call.name, "fdatasync" | "fsync");
    let succeeded = syncs && call.arguments.contains(LOG_OF_COMMITS) && call.result == "0";
    succeeded.then_some((call.entered, call.left))
}

/// Where the first write to the log ended that has the bytes of each id in it.
fn first_writes(calls: &[Call<'_>], ids: impl Iterator<Item = Uuid>) -> BTreeMap<Uuid, usize> {
    let by_text: HashMap<String, Uuid> = ids.map(|id| (hex(id.as_bytes()), id)).collect();
    let times: BTreeSet<&str> =
        by_text.keys().map(|hex| &hex[..TIME_BYTES * BYTE_LENGTH]).collect();
    let length = size_of::<Uuid>() * BYTE_LENGTH;
    let mut first = BTreeMap::new();
    for call in calls.iter().filter(|call| matches!(call.name, "write" | "pwrite64" | "writev")) {
        let path_end = call.arguments.find(", ").unwrap_or(0);
        if !call.arguments[..path_end].ends_with(LOG_OF_COMMITS) {
            continue;
        }
        for place in times.iter().flat_map(|time| call.arguments.match_indices(time)) {
            let text = call.arguments.get(place.0..place.0 + length);
            if let Some(id) = text.and_then(|text| by_text.get(text)) {
                let row = first.entry(*id).or_insert(call.left);
                *row = call.left.min(*row);
            }
        }
    }
    first
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

const ID: &str = "019ab2c3-d4e5-7f60-8182-838485868788";
const BYTES: &str = r"\x01\x9a\xb2\xc3\xd4\xe5\x7f\x60\x81\x82\x83\x84\x85\x86\x87\x88";

fn row(rest: &str) -> String {
    format!("7 pwrite64(9</d/futurity.db-wal>, \"\\x0d{BYTES}\\x00\", 4096, 56{rest}")
}

fn sent(status: u16) -> String {
    format!(
        "8 writev(12<socket:[5]>, [{{iov_base=\"HTTP/1.1 {status} X\\r\\nlocation: /v1/jobs/{ID}\\r\\n\", \
         iov_len=50}}], 1) = 50"
    )
}

const WROTE: &str = ") = 4096";
const SYNC: &str = "7 fdatasync(9</d/futurity.db-wal>) = 0";
const SYNC_BEGINS: &str = "7 fdatasync(9</d/futurity.db-wal> <unfinished ...>";
const SYNC_ENDS: &str = "7 <... fdatasync resumed>) = 0";

#[test]
fn a_row_synced_before_its_answer_is_durable() {
    let together = [row(WROTE), SYNC.to_owned(), sent(202)];
    let apart = [row(WROTE), SYNC_BEGINS.to_owned(), SYNC_ENDS.to_owned(), sent(202)];
    for trace in [together.join("\n"), apart.join("\n")] {
        let verdict = judge(&trace);
        assert_eq!((verdict.answered.len(), verdict.syncs), (1, 1));
        assert!(verdict.early.is_empty() && verdict.unwritten.is_empty(), "{verdict:?}");
    }
}

#[test]
fn an_answer_that_leaves_before_the_end_of_the_sync_is_early() {
    let begins = || SYNC_BEGINS.to_owned();
    let ends = || SYNC_ENDS.to_owned();
    let traces = [
        vec![row(WROTE), sent(202)],
        vec![row(WROTE), sent(202), SYNC.to_owned()],
        vec![SYNC.to_owned(), row(WROTE), sent(202)],
        vec![row(WROTE), begins(), sent(202), ends()],
        // The sync began before the row was written.
        vec![begins(), row(WROTE).replace("7 pwrite", "6 pwrite"), ends(), sent(202)],
        // The write had not ended when the sync began.
        vec![
            row(" <unfinished ...>").replace("7 pwrite", "6 pwrite"),
            SYNC.to_owned(),
            "6 <... pwrite64 resumed>) = 4096".to_owned(),
            sent(202),
        ],
        // Another file's sync, and one that failed.
        vec![row(WROTE), SYNC.replace("-wal", ""), sent(202)],
        vec![row(WROTE), SYNC.replace("= 0", "= -1 EIO (Input/output error)"), sent(202)],
    ];
    for trace in traces {
        let verdict = judge(&trace.join("\n"));
        assert_eq!(verdict.early.len(), 1, "{trace:#?}");
    }
}

#[test]
fn a_row_that_was_never_written_is_missed_and_other_answers_are_not_judged() {
    assert_eq!(judge(&[SYNC.to_owned(), sent(202)].join("\n")).unwritten.len(), 1);
    assert!(judge(&sent(200)).answered.is_empty());
}
