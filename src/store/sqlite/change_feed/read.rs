//! The order of all changes, as a reader sees it.

use sqlx::{Connection as _, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::domain::{Job, JobId, Ordinal};
use crate::store::codec;
use crate::store::codec::feed_entry;
use crate::store::contract::{Changes, Failure, JobChange, Known, Left, View};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::read::{self, job_columns};

/// Groups that are read at once.
const GROUPS_MAX: i64 = 256;

/// From the floor on every change is known.
const SELECT_HEAD: &str =
    "select max(c.seq_floor, coalesce((select min(first_seq) - 1 from changes), 0)),
    coalesce((select last_seq from changes order by first_seq desc limit 1), c.seq_floor) from counters as c";

/// From the group on that the place is in.
const SELECT_LOG: &str = "select first_seq, entries from changes
where first_seq >= coalesce((select max(c.first_seq) from changes as c where c.first_seq <= ?1 + 1), 0)
    and last_seq > ?1
order by first_seq limit ?2";

const SELECT_JOBS: &str = concat!(
    "select ",
    job_columns!(),
    ", seq from jobs where ordinal in (select e.value from json_each(?) as e)"
);

const SELECT_ONE: &str = concat!("select ", job_columns!(), ", seq from jobs where id = ?");

pub enum Entry {
    Job(Ordinal),
    Gone(JobId),
}

impl Sqlite {
    pub async fn changed_job(&self, id: JobId) -> Result<Option<(i64, Job)>, Failure> {
        let mut connection = self.readers.acquire().await?;
        let mut snapshot = connection.begin().await?;
        let query = sqlx::query(SELECT_ONE).bind(id.0.as_bytes().to_vec());
        let Some(row) = query.fetch_optional(&mut *snapshot).await? else { return Ok(None) };
        Ok(Some((row.try_get("seq")?, read::filled(&mut snapshot, &row, View::Brief).await?)))
    }

    pub async fn changes(&self, after: i64, limit: usize) -> Result<Changes, Failure> {
        let mut connection = self.readers.acquire().await?;
        let mut snapshot = connection.begin().await?;
        let known = known(&mut snapshot).await?;
        if limit == 0 {
            return Ok(Changes { changes: Vec::new(), to: after, known });
        }
        let (entries, to) = entries(&mut snapshot, after, limit).await?;
        let places: Vec<i64> = entries.iter().filter_map(|(_, entry)| place(entry)).collect();
        let places = serde_json::to_string(&places).map_err(codec::damaged)?;
        let mut jobs = std::collections::HashMap::new();
        for row in sqlx::query(SELECT_JOBS).bind(places).fetch_all(&mut *snapshot).await? {
            let seq: i64 = row.try_get("seq")?;
            jobs.insert(seq, read::filled(&mut snapshot, &row, View::Brief).await?);
        }
        let left = |(seq, entry)| {
            let left = match entry {
                Entry::Job(_) => Left::Job(Box::new(jobs.remove(&seq)?)),
                Entry::Gone(id) => Left::Gone(id),
            };
            Some(JobChange { seq, left })
        };
        Ok(Changes { changes: entries.into_iter().filter_map(left).collect(), to, known })
    }
}

pub async fn known(connection: &mut SqliteConnection) -> Result<Known, Failure> {
    let (floor, head) = sqlx::query_as(SELECT_HEAD).fetch_one(connection).await?;
    Ok(Known { floor, head })
}

/// What the log says behind `after`, at most about `limit` changes, each with its place; and how far that reaches.
pub async fn entries(
    snapshot: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> Result<(Vec<(i64, Entry)>, i64), Failure> {
    let query = sqlx::query(SELECT_LOG).bind(after).bind(GROUPS_MAX);
    let found = query.fetch_all(snapshot).await?;
    let (mut entries, mut to) = (Vec::new(), after);
    for row in &found {
        if entries.len() >= limit {
            break;
        }
        let (first, bytes): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        for (seq, entry) in (first..).zip(read_entries(bytes)?) {
            if seq > after && entries.len() < limit {
                entries.push((seq, entry));
                to = seq;
            }
        }
    }
    Ok((entries, to))
}

pub fn place(entry: &Entry) -> Option<i64> {
    match entry {
        Entry::Job(ordinal) => Some(ordinal.0),
        Entry::Gone(_) => None,
    }
}

fn read_entries(mut bytes: &[u8]) -> Result<Vec<Entry>, Failure> {
    let short = || Failure::Damaged("the log of changes ends too early".to_owned());
    let (mut entries, mut ordinal) = (Vec::with_capacity(bytes.len()), 0_i64);
    while !bytes.is_empty() {
        let step = feed_entry::read(&mut bytes).ok_or_else(short)?;
        ordinal = ordinal.checked_add(step).ok_or_else(short)?;
        if ordinal != 0 {
            entries.push(Entry::Job(Ordinal(ordinal)));
            continue;
        }
        let (id, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        entries.push(Entry::Gone(JobId(Uuid::from_bytes(*id))));
        bytes = rest;
    }
    Ok(entries)
}
