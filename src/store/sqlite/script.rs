//! The script that commits a group: one query a transaction, because each query costs a trip to the
//! connection's thread and back.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Executor as _, Row as _, Sqlite, SqliteConnection};

use crate::domain::Ordinal;
use crate::store::group::{Counters, Group};

/// Rows of one statement, as the JSON that it reads with `json_each`: an array of arrays.
#[derive(Debug)]
pub(in crate::store) struct Rows {
    text: String,
    count: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self { text: String::from("["), count: 0 }
    }
}

impl Rows {
    /// Begins a row; [`Row::end`] ends it.
    pub(in crate::store) fn row(&mut self) -> Row<'_> {
        self.text.push_str(if self.count == 0 { "[" } else { ",[" });
        self.count += 1;
        Row { text: &mut self.text, first: true }
    }

    /// How many there are.
    pub(in crate::store) fn count(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn json(&self) -> String {
        format!("{}]", self.text)
    }
}

/// One row, value by value.
#[derive(Debug)]
pub(in crate::store) struct Row<'a> {
    text: &'a mut String,
    first: bool,
}

impl Row<'_> {
    /// A whole number.
    pub(in crate::store) fn int(mut self, value: i64) -> Self {
        self.comma();
        // Writing to a String cannot fail.
        write!(self.text, "{value}").unwrap_or_default();
        self
    }

    /// A whole number, or null.
    pub(in crate::store) fn maybe_int(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    /// A text.
    pub(in crate::store) fn text(mut self, value: &str) -> Self {
        self.comma();
        let quoted = serde_json::to_string(value);
        self.text.push_str(&quoted.unwrap_or_default());
        self
    }

    /// A text, or null.
    pub(in crate::store) fn maybe_text(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// Bytes, in hexadecimal digits: the statement reads them with `unhex`.
    pub(in crate::store) fn hex(mut self, bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.comma();
        self.text.push('"');
        for byte in bytes {
            self.text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        self.text.push('"');
        self
    }

    /// Null.
    pub(in crate::store) fn null(mut self) -> Self {
        self.comma();
        self.text.push_str("null");
        self
    }

    /// Ends the row.
    pub(in crate::store) fn end(self) {
        self.text.push(']');
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.text.push(',');
        }
    }
}

/// What every group does to jobs, as one statement to whoever sends it: every statement costs a message
/// from the connection's thread, and a change of threads with it. It commits by itself where nothing
/// else is to be written. `outcome` tells how many rows the guarded statements changed.
///
/// Guards stand in the `where`: a write states what it assumes. Ends come before claims: a job that is
/// interrupted may be claimed again at once.
pub(super) const PREPARE: &str = "create temp table outcome (inserted integer not null, ended integer not null);

insert into outcome (inserted, ended) values (0, 0);

create temp view jobs_of_group as
select 0 as ordinal, 0 as seq, 0 as payload, '' as inserted, '' as ended, '' as claimed;

create temp trigger write_jobs_of_group instead of insert on jobs_of_group begin

update counters set ordinal = new.ordinal, seq = new.seq, payload = new.payload where only_row = 1;

insert into jobs (ordinal, id, function, queue, priority, on_interrupt, labels, state, version, seq, attempt,
    epoch, created_at, started_at, arguments, arguments_payload, arguments_bytes)
select e.value ->> 0, unhex(e.value ->> 1), e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5,
    e.value ->> 6, e.value ->> 7, 1, e.value ->> 8, e.value ->> 9, e.value ->> 10, e.value ->> 11,
    e.value ->> 12, e.value ->> 13, e.value ->> 14, e.value ->> 15
from jsonb_each(new.inserted) as e where true
on conflict (id) do nothing;

update outcome set inserted = changes();

update jobs set state = e.value ->> 3, version = coalesce(e.value ->> 13, version + 1), seq = e.value ->> 4,
    finished_seq = case when e.value ->> 5 is null then null else e.value ->> 4 end,
    finished_at = e.value ->> 5, started_at = case when e.value ->> 3 = 'pending' then null else started_at end,
    result = e.value ->> 6, result_payload = e.value ->> 7, result_bytes = e.value ->> 8, error = e.value ->> 9,
    interruptions = e.value ->> 10, crashes = e.value ->> 11, cancel_requested_at = e.value ->> 12
from jsonb_each(new.ended) as e
where jobs.ordinal = e.value ->> 0 and jobs.state = e.value ->> 1
    and (e.value ->> 2 is null or jobs.attempt = e.value ->> 2);

update outcome set ended = changes();

update jobs set state = 'running', attempt = attempt + 1, version = version + 1, seq = e.value ->> 1,
    epoch = e.value ->> 2, started_at = max(e.value ->> 3, created_at)
from jsonb_each(new.claimed) as e
where jobs.ordinal = e.value ->> 0 and jobs.state = 'pending';

end;";

macro_rules! jobs {
    () => {
        "insert into jobs_of_group (ordinal, seq, payload, inserted, ended, claimed) values (?, ?, ?, ?, ?, ?);

"
    };
}

/// What became of them: for each claim the attempt that it began, if its guard held.
macro_rules! told {
    () => {
        "select inserted, ended from outcome;

select jobs.ordinal, jobs.attempt from jsonb_each(?) as e cross join jobs on jobs.ordinal = e.value ->> 0
where jobs.seq >= e.value ->> 1 and jobs.state = 'running';"
    };
}

/// The rest. A cancel is written after the ends: of a job that both concern, the end stands. Callbacks
/// and deliveries reach only jobs that are there.
macro_rules! others {
    () => {
        "update jobs set version = version + 1, seq = e.value ->> 1, cancel_requested_at = e.value ->> 2
from jsonb_each(?) as e
where jobs.ordinal = e.value ->> 0 and jobs.state = 'running' and jobs.cancel_requested_at is null;

insert into callbacks (id, job, url, host, sealed, created_at)
select unhex(e.value ->> 0), j.ordinal, e.value ->> 2, e.value ->> 3, unhex(e.value ->> 4), e.value ->> 5
from jsonb_each(?) as e cross join jobs as j on j.ordinal = e.value ->> 1
order by e.key;

insert into deliveries (callback, job, host, state, next_at)
select c.ordinal, c.job, c.host, 'pending', e.value ->> 1
from jsonb_each(?) as e cross join callbacks as c on c.job = e.value ->> 0
    cross join jobs as j on j.ordinal = c.job
where j.finished_seq is not null
on conflict (callback) do nothing;

update deliveries set body = e.value ->> 1
from jsonb_each(?) as e
where deliveries.callback = e.value ->> 0 and deliveries.body is null;

insert into delivery_attempts (callback, number, at, status, error, body, duration_ms)
select e.value ->> 0, e.value ->> 1, e.value ->> 2, e.value ->> 3, e.value ->> 4, e.value ->> 5, e.value ->> 6
from jsonb_each(?) as e where true
on conflict (callback, number) do nothing;

update deliveries set attempts = e.value ->> 1, state = e.value ->> 7, next_at = e.value ->> 8
from jsonb_each(?) as e
where deliveries.callback = e.value ->> 0 and deliveries.state = 'pending'
    and deliveries.attempts = (e.value ->> 1) - 1;

delete from unlinked_payloads where payload in (select e.value ->> 0 from jsonb_each(?) as e);

delete from chunks where payload in (select e.value ->> 0 from jsonb_each(?) as e);

delete from unlinked_payloads where payload in (select e.value ->> 0 from jsonb_each(?) as e);

"
    };
}

const BEGIN: &str = "begin immediate;";
const COMMIT_JOBS: &str = concat!(jobs!(), "select inserted, ended from outcome;");
const COMMIT_JOBS_AND_CLAIMS: &str = concat!(jobs!(), told!());
const COMMIT_ALL: &str =
    concat!("begin immediate;\n\n", jobs!(), others!(), "commit;\n\n", told!());
const COMMIT_ALL_BEGUN: &str = concat!(jobs!(), others!(), "commit;\n\n", told!());
const INSERT_CHUNK: &str = "insert into chunks (payload, number, bytes) values (?, ?, ?)";
const INSERT_UNLINKED: &str =
    "insert into unlinked_payloads (payload) values (?) on conflict do nothing";
const ROLL_BACK: &str = "rollback;";

/// One of the group's pieces that no job owns yet.
#[derive(Debug)]
pub(in crate::store) struct Ahead<'a> {
    pub(in crate::store) payload: i64,
    pub(in crate::store) number: i64,
    pub(in crate::store) bytes: &'a [u8],
}

/// What the guarded statements changed: how many rows, and which attempt each claim began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Changed {
    pub(in crate::store) inserted: usize,
    pub(in crate::store) ended: usize,
    pub(in crate::store) claimed: Vec<(Ordinal, u32)>,
}

/// Writes a group as one transaction. On an error the transaction is rolled back.
pub(in crate::store) async fn commit(
    connection: &mut SqliteConnection,
    group: &Group,
    ahead: &[Ahead<'_>],
) -> Result<Changed, sqlx::Error> {
    let result = run(connection, group, ahead).await;
    if result.is_err() {
        // SQLite may have rolled back by itself; then there is nothing to do, and it says so.
        if let Err(error) = connection.execute(ROLL_BACK).await {
            tracing::debug!(%error, "no transaction to roll back");
        }
    }
    result
}

async fn run(
    connection: &mut SqliteConnection,
    group: &Group,
    ahead: &[Ahead<'_>],
) -> Result<Changed, sqlx::Error> {
    let has_pieces = !group.chunks.is_empty() || !ahead.is_empty();
    if !has_pieces && group.is_jobs_only() {
        if group.claimed.is_empty() {
            return statements(connection, job_binds(COMMIT_JOBS, group)).await;
        }
        let script = job_binds(COMMIT_JOBS_AND_CLAIMS, group).bind(group.claimed.json());
        return statements(connection, script).await;
    }
    if !has_pieces {
        return statements(connection, all_binds(COMMIT_ALL, group)).await;
    }
    connection.execute(BEGIN).await?;
    for piece in ahead {
        sqlx::query(INSERT_UNLINKED).bind(piece.payload).execute(&mut *connection).await?;
        insert_chunk(connection, piece.payload, piece.number, piece.bytes).await?;
    }
    for chunk in &group.chunks {
        insert_chunk(connection, chunk.payload, chunk.number, &chunk.bytes).await?;
    }
    statements(connection, all_binds(COMMIT_ALL_BEGUN, group)).await
}

async fn insert_chunk(
    connection: &mut SqliteConnection,
    payload: i64,
    number: i64,
    bytes: &[u8],
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(INSERT_CHUNK).bind(payload).bind(number).bind(bytes.to_vec());
    query.execute(connection).await.map(drop)
}

type Script = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

fn job_binds(script: &'static str, group: &Group) -> Script {
    let Counters { ordinal, seq, payload, epoch: _ } = group.counters;
    sqlx::query(script)
        .bind(ordinal)
        .bind(seq)
        .bind(payload)
        .bind(group.inserted.json())
        .bind(group.ended.json())
        .bind(group.claimed.json())
}

fn all_binds(script: &'static str, group: &Group) -> Script {
    job_binds(script, group)
        .bind(group.cancel_requested.json())
        .bind(group.callbacks.json())
        .bind(group.due.json())
        .bind(group.delivery_bodies.json())
        .bind(group.delivery_attempts.json())
        .bind(group.delivery_attempts.json())
        .bind(group.linked.json())
        .bind(group.abandoned.json())
        .bind(group.abandoned.json())
        .bind(group.claimed.json())
}

/// Runs a script. The first row that comes back is the outcome; each other one tells of a claim.
async fn statements(
    connection: &mut SqliteConnection,
    script: Script,
) -> Result<Changed, sqlx::Error> {
    let rows = connection.fetch_all(script).await?;
    let (outcome, claims) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
    let count = |place: usize| -> Result<usize, sqlx::Error> {
        Ok(usize::try_from(outcome.try_get::<i64, _>(place)?).unwrap_or(usize::MAX))
    };
    let claim = |row: &SqliteRow| Ok((Ordinal(row.try_get(0)?), row.try_get(1)?));
    let claimed = claims.iter().map(claim).collect::<Result<_, sqlx::Error>>()?;
    Ok(Changed { inserted: count(0)?, ended: count(1)?, claimed })
}
