//! Looks through a whole database that no server has open, and changes nothing: every invariant is computed anew.

use crate::domain::{CallbackId, Damage, Ordinal};
use sqlx::{Row as _, SqlitePool};
use std::collections::BTreeMap;
use std::path::Path;

use crate::store::codec;
use crate::store::contract::{Config, DatabasePath, QueueSettings, View};
use crate::store::sqlite::durability::{high_water, recovery};
use crate::store::sqlite::error::OpenError;
use crate::store::sqlite::jobs::standings;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::{connection, schema};

/// Jobs that are read at once.
const PAGE: i64 = 500;
/// Findings of one kind that are told one by one.
const TOLD_MAX: usize = 100;

const INTEGRITY_CHECK: &str = "pragma integrity_check(100)";
const FOREIGN_KEYS: &str =
    "select \"table\", rowid, parent from pragma_foreign_key_check limit 100";
const SELECT_ORDINALS: &str =
    "select ordinal from calls where ordinal > ? order by ordinal limit ?";
const SELECT_SEALED: &str = "select id, sealed from callbacks where sealed is not null";
const SELECT_COUNTS: &str = "select (select count(*) from calls), (select count(*) from batches),
    (select count(*) from callbacks), (select count(*) from deliveries)";

/// What must never be found, in words, and the rows for which it is.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "jobs have a number that was not given yet",
        "select count(*) from jobs, counters as c
        where jobs.ordinal > c.ordinal or jobs.seq > c.seq or jobs.epoch > c.epoch
            or jobs.arguments_payload > c.payload or jobs.result_payload > c.payload",
    ),
    (
        "changes of jobs have the place of another change",
        "select count(*) - count(distinct seq) from jobs",
    ),
    (
        "changes are not in their order, or overlap",
        "select count(*) from changes as c where c.last_seq < c.first_seq
            or exists (select 1 from changes as d where d.first_seq > c.first_seq and d.first_seq <= c.last_seq)",
    ),
    (
        "jobs are not done and not among the unfinished",
        "select count(*) from calls, counters as c
        where (calls.ordinal <= c.indexed_to or calls.state = 'pending')
            and not exists (select 1 from ends as e where e.job = calls.ordinal)
            and not exists (select 1 from unfinished as u where u.job = calls.ordinal)",
    ),
    (
        "jobs are among the unfinished, and are done or not there",
        "select count(*) from unfinished as u where exists (select 1 from ends as e where e.job = u.job)
            or not exists (select 1 from calls where calls.ordinal = u.job)",
    ),
    (
        "deliveries are over, and on their way",
        "select count(*) from deliveries where begun is not null and state != 'pending'",
    ),
    (
        "jobs are done and have no end",
        "select count(*) from calls
        where calls.state = 'done' and not exists (select 1 from ends as e where e.job = calls.ordinal)",
    ),
    (
        "jobs have an end that does not follow from how far they had come",
        "select count(*) from calls join ends as e on e.job = calls.ordinal
        where calls.state <> 'done' and (calls.state <> 'running' or e.state <> 'succeeded')",
    ),
    (
        "ends are of jobs that are not there",
        "select count(*) from ends as e where not exists (select 1 from calls where calls.ordinal = e.job)",
    ),
    (
        "jobs that are done have no time to expire and no batch",
        "select count(*) from jobs where finished_seq is not null and expires_at is null and batch is null",
    ),
    (
        "values have another length than was written",
        "select count(*) from jobs where (arguments is not null and octet_length(arguments) <> arguments_bytes)
            or (result is not null and octet_length(result) <> result_bytes)
            or (arguments is null) = (arguments_payload is null)",
    ),
    (
        "pieces of values belong to no job",
        "select count(*) from (select distinct payload from chunks
            except select arguments_payload from jobs except select result_payload from jobs
            except select payload from unlinked_payloads)",
    ),
    (
        "jobs that are gone are there",
        "select count(*) from jobs join tombstones as t on t.id = jobs.id",
    ),
    (
        "callbacks of jobs that are done have no delivery",
        "select count(*) from callbacks as c join ends as e on e.job = c.job
        where not exists (select 1 from deliveries as d where d.callback = c.ordinal)",
    ),
    (
        "deliveries tell of jobs that are not done",
        "select count(*) from deliveries as d join jobs as j on j.ordinal = d.job where j.finished_seq is null",
    ),
    (
        "deliveries have another number of attempts than is kept",
        "select count(*) from deliveries as d
        where d.attempts <> (select count(*) from delivery_attempts as a where a.callback = d.callback)",
    ),
    (
        "states of deliveries are counted wrongly",
        "select count(*) from delivery_counts as c
        where c.count <> (select count(*) from deliveries as d where d.state = c.state)",
    ),
    (
        "receivers have another next turn than their deliveries",
        "select count(*) from deliveries as d left join receivers as r on r.host = d.host
        where d.state = 'pending' and r.turn_at is null",
    ),
    (
        "batches count their jobs wrongly",
        "select count(*) from batches as b where b.going = 0 and (b.total, b.running, b.succeeded, b.failed, b.cancelled)
            is not (select count(*), count(*) filter (where state = 'running'), count(*) filter (where state = 'succeeded'),
                count(*) filter (where state = 'failed'), count(*) filter (where state = 'cancelled')
            from jobs where batch = b.ordinal)",
    ),
    (
        "batches have other ends than their jobs",
        "select count(*) from batches as b where b.going = 0
            and (select count(*) from batch_ends as e, json_each(iif(json_valid(e.jobs), e.jobs, '[]')) as o
                join jobs as j on j.ordinal = o.value and j.batch = b.ordinal and j.finished_seq is not null
                where e.batch = b.ordinal) <> b.succeeded + b.failed + b.cancelled",
    ),
    (
        "batches have other runs than jobs",
        "select count(*) from batches as b where b.going = 0
            and b.total <> (select coalesce(sum(r.count), 0) from batch_runs as r where r.batch = b.ordinal)",
    ),
    (
        "batches are done and not closed, or have no end though all of their jobs have",
        "select count(*) from batches as b where b.going = 0
            and (b.finished_at is null) <> (b.closed = 0 or b.total <> b.succeeded + b.failed + b.cancelled)",
    ),
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Jobs, batches, callbacks and deliveries that there are.
    pub counts: [i64; 4],
    /// What is wrong, each in a sentence.
    pub findings: Vec<String>,
}

/// Looks through the database. `opens` says whether the seal of a callback's secrets can be opened.
pub async fn fsck(
    database: &Path,
    opens: impl Fn(CallbackId, &[u8]) -> bool,
) -> Result<Report, OpenError> {
    let mut report =
        Report { findings: high_water::loss(database)?.into_iter().collect(), ..Report::default() };
    let pool = connection::open_reader_untouched(database).await?;
    schema::check_schema(&pool).await?;
    match start_reads(database) {
        Err(error @ (OpenError::Damaged(_) | OpenError::Settings { .. })) => {
            report.findings.push(format!("no server starts on it: {error}"));
        }
        other => other?,
    }
    // What is damaged may not even be looked through: then that is the last finding.
    match look(&pool, opens, &mut report).await {
        Err(OpenError::Damaged(what)) => report.findings.push(what),
        other => other?,
    }
    pool.close().await;
    Ok(report)
}

/// Reads what a start reads, by the same functions, so that nothing stops it of which this says that it holds.
fn start_reads(database: &Path) -> Result<(), OpenError> {
    // Of a server that has neither functions nor settings.
    let config = Config {
        path: DatabasePath::from(database.to_owned()),
        queues: BTreeMap::new(),
        queue_default: QueueSettings { max_workers: 1, max_pending: usize::MAX },
        manual_max: usize::MAX,
        slots: BTreeMap::new(),
        pools: BTreeMap::new(),
        delivery_wait_ms_max: 0,
        accept_data_loss: false,
    };
    let connection = connection::open_untouched(database)?;
    connection::check_made(&connection)?;
    let mut slots = Slots::new(&config);
    recovery::load_queues(&connection, &mut slots)?;
    recovery::load_waiting(&connection, &config, &mut slots, false)
}

async fn look(
    pool: &SqlitePool,
    opens: impl Fn(CallbackId, &[u8]) -> bool,
    report: &mut Report,
) -> Result<(), OpenError> {
    let findings = &mut report.findings;
    let unsound: Vec<String> = sqlx::query_scalar(INTEGRITY_CHECK).fetch_all(pool).await?;
    findings.extend(unsound.into_iter().filter(|it| it != "ok"));
    for row in sqlx::query(FOREIGN_KEYS).fetch_all(pool).await? {
        let (table, place, parent): (String, Option<i64>, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let place = place.unwrap_or_default();
        findings.push(format!("row {place} of {table} belongs to no row of {parent}"));
    }
    for (found, query) in INVARIANTS {
        let rows: i64 = sqlx::query_scalar(*query).fetch_one(pool).await?;
        if rows != 0 {
            findings.push(format!("{rows}: {found}"));
        }
    }
    unreadable(pool, findings).await?;
    for row in sqlx::query(SELECT_SEALED).fetch_all(pool).await? {
        let id = CallbackId(codec::uuid(row.try_get(0)?)?);
        if !opens(id, row.try_get(1)?) {
            findings.push(format!("the secrets of callback {} cannot be opened", id.0));
        }
    }
    let counts: (i64, i64, i64, i64) = sqlx::query_as(SELECT_COUNTS).fetch_one(pool).await?;
    report.counts = counts.into();
    Ok(())
}

/// Jobs that do not read back as they were written: each is read as whoever asks for it would.
async fn unreadable(pool: &SqlitePool, findings: &mut Vec<String>) -> Result<(), OpenError> {
    let mut found = 0;
    let mut after = 0;
    loop {
        let page = sqlx::query_scalar(SELECT_ORDINALS).bind(after).bind(PAGE);
        let page: Vec<i64> = page.fetch_all(pool).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = *last;
        let places: Vec<Ordinal> = page.into_iter().map(Ordinal).collect();
        let jobs = standings::jobs_at(pool, &places, View::Whole, usize::MAX).await?.jobs;
        for job in jobs {
            let Damage { arguments, outcome } = job.damage;
            let parts = [(arguments, "arguments"), (outcome, "result or error")];
            for (_, part) in parts.into_iter().filter(|(is_damaged, _)| *is_damaged) {
                found += 1;
                let told = format!("the {part} of job {} are not what was written", job.spec.id);
                findings.extend((found <= TOLD_MAX).then_some(told));
            }
        }
    }
}
