//! The schema: made at the first start, brought up to date at a later one.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};
use std::cmp::Ordering;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::store::contract::DatabasePath;
use crate::store::sqlite::connection;
use crate::store::sqlite::durability::files::{
    new_private, part_of, remove_if_there, rename_for_good, wal_path,
};
use crate::store::sqlite::error::{OpenError, VERSION_MIN};

const MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const SELECT_SCHEMA: &str =
    "select coalesce(max(version), 0) from _sqlx_migrations where success = 1";
const SELECT_VERSION: &str = "select sqlite_version()";
/// Plans are what they are tested to be: by key. Whoever has looked at a database while it was small, as with `pragma optimize`,
/// has left statistics by which SQLite goes through whole tables once it is large.
const FORGET_STATISTICS: &str =
    "drop table if exists sqlite_stat1; drop table if exists sqlite_stat4";
const SELECT_STRAYS: &str = "select 1 from pragma_foreign_key_check limit 1000";

/// Makes the database if need be, and brings its schema up to date.
pub async fn migrate(path: &DatabasePath) -> Result<(), OpenError> {
    if is_to_be_made(&path.file)? {
        return make(path).await;
    }
    // A table that is made anew is dropped for a moment, with rows elsewhere that name its own.
    let options = connection::options(path).pragma("foreign_keys", "off");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    bring_up_to_date(&mut connection).await?;
    sqlx::query(FORGET_STATISTICS).execute(&mut connection).await?;
    let strays = sqlx::query(SELECT_STRAYS).fetch_all(&mut connection).await?;
    if !strays.is_empty() {
        return Err(OpenError::Damaged(format!("{} rows belong to no job", strays.len())));
    }
    Ok(connection.close().await?)
}

/// Makes the database under another name and gives it its own when it is whole, so that nothing but the whole needs to
/// reach the disk: one that is made in its place waits for the disk some thirty times.
async fn make(path: &DatabasePath) -> Result<(), OpenError> {
    let part = part_of(&path.file);
    // A server that was killed meanwhile may have left one, with its log. And what is left of a database that is gone, or is
    // empty, is nothing to SQLite: to a new one it would be its log.
    for stray in [wal_path(&part), wal_path(&path.file)] {
        remove_if_there(&stray)?;
    }
    new_private(&part)?;
    let options = connection::options(&DatabasePath { file: part.clone(), ..path.clone() })
        .pragma("journal_mode", "off")
        .pragma("synchronous", "off")
        .pragma("foreign_keys", "off")
        // Before the first table is made; later it cannot be turned on.
        .pragma("auto_vacuum", "incremental");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    bring_up_to_date(&mut connection).await?;
    sqlx::query("pragma journal_mode = wal").execute(&mut connection).await?;
    connection.close().await?;
    Ok(rename_for_good(&part, &path.file)?)
}

/// Whether there is none, or an empty file, which is none to SQLite either.
fn is_to_be_made(database: &Path) -> io::Result<bool> {
    match database.metadata() {
        Ok(file) => Ok(file.len() == 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

async fn bring_up_to_date(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    check_version(connection).await?;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::NewerSchema { found },
        other => OpenError::Migration(other),
    })
}

/// Whether the database has the schema of this program.
pub async fn check_schema(pool: &SqlitePool) -> Result<(), OpenError> {
    let found: i64 = sqlx::query_scalar(SELECT_SCHEMA).fetch_one(pool).await?;
    let ours = MIGRATIONS.iter().map(|it| it.version).max().unwrap_or(0);
    match found.cmp(&ours) {
        Ordering::Less => Err(OpenError::OlderSchema { found }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(OpenError::NewerSchema { found }),
    }
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let found: String = sqlx::query_scalar(SELECT_VERSION).fetch_one(connection).await?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    if version < VERSION_MIN { Err(OpenError::OldSqlite { found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::connection::{open_checkpointer, open_readers, open_writer};

    #[tokio::test]
    async fn what_a_killed_start_and_a_lost_database_have_left_is_not_taken_into_a_new_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        let another = DatabasePath::from(directory.path().join("another.db"));
        migrate(&another).await.expect("a database");
        let writer = open_writer(&another).expect("its writer");
        writer.execute("update counters set epoch = 77", ()).expect("a commit in its log");
        let part = part_of(&path.file);
        for log in [wal_path(&path.file), wal_path(&part)] {
            std::fs::copy(wal_path(&another.file), log).expect("a stray log");
        }
        std::fs::write(&part, "half of a database").expect("a part");
        std::fs::write(&path.file, "").expect("an empty file");
        migrate(&path).await.expect("a database");
        assert!(!part.exists() && !wal_path(&part).exists(), "nothing of the part is left");
        let writer = open_writer(&path).expect("a database with all its settings");
        let epoch: i64 = writer
            .query_row("select epoch from counters", (), |row| row.get(0))
            .expect("the counters");
        assert_eq!(epoch, 0);
        migrate(&path).await.expect("a schema that is up to date");
    }

    /// Makes a database of an older schema, and changes it.
    async fn older(path: &DatabasePath, version: i64, change: &'static str) {
        let first = MIGRATIONS.iter().filter(|it| it.version <= version).cloned().collect();
        let first = Migrator { migrations: first, ..Migrator::DEFAULT };
        let options = connection::options(path)
            .pragma("foreign_keys", "off")
            .pragma("auto_vacuum", "incremental");
        let pool =
            SqlitePool::connect_with(options.create_if_missing(true)).await.expect("a database");
        first.run(&pool).await.expect("a schema");
        sqlx::query(change).execute(&pool).await.expect("rows");
        pool.close().await;
    }

    #[tokio::test]
    async fn ends_of_batches_that_stand_alone_are_taken_along() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        let ends = "insert into batch_ends (batch, seq, job) values (7, 12, 9), (7, 10, 8)";
        older(&path, 7, ends).await;
        migrate(&path).await.expect("the newest schema");
        let writer = open_writer(&path).expect("a writer");
        let ends = "select group_concat(batch || ' ' || seq || ' ' || jobs, ', ')
            from (select * from batch_ends order by seq)";
        let ends: String = writer.query_row(ends, (), |row| row.get(0)).expect("the ends");
        assert_eq!(ends, "7 10 [8], 7 12 [9]");
    }

    /// One of each state, and what a reader of the older schema saw of them.
    const JOBS: &str =
        "insert into jobs (ordinal, id, function, queue, priority, on_interrupt, state, version, seq, finished_seq, attempt, epoch,
    created_at, started_at, finished_at, expires_at, arguments, arguments_bytes, result, result_bytes, error, indexed)
values (1, randomblob(16), 'f', 'q', 0, 'rerun', 'pending', 1, 11, null, 0, null, 5, null, null, null, '[]', 2, null, null, null, 1),
    (2, randomblob(16), 'f', 'q', 0, 'rerun', 'running', 1, 12, null, 1, 1, 5, 6, null, null, '[]', 2, null, null, null, 0),
    (3, randomblob(16), 'f', 'q', 0, 'rerun', 'succeeded', 2, 13, 13, 1, 1, 5, 6, 7, 9, '[]', 2, '31', 2, null, 0),
    (4, randomblob(16), 'f', 'q', 0, 'rerun', 'failed', 2, 14, 14, 1, 1, 5, 6, 7, null, '[]', 2, null, null, '{}', 1),
    (5, randomblob(16), 'f', 'q', 0, 'rerun', 'cancelled', 2, 15, 15, 0, null, 5, null, 7, 9, '[]', 2, null, null, null, 1);
insert into callbacks (ordinal, id, job, url, host, created_at) values (1, randomblob(16), 2, 'u', 'h', 5)";
    const SEEN: &str = "select group_concat(concat_ws(' ', ordinal, length(id), state, version, seq, coalesce(finished_seq, '-'),
    coalesce(finished_at, '-'), coalesce(expires_at, '-'), coalesce(result, '-'), coalesce(error, '-')), ', ')
from (select * from jobs order by ordinal)";

    #[tokio::test]
    async fn jobs_keep_their_ends_when_those_become_rows_of_their_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        older(&path, 8, JOBS).await;
        let seen = |when: &str| -> String {
            let writer = open_writer(&path).expect("a writer");
            writer.query_row(SEEN, (), |row| row.get(0)).expect(when)
        };
        let before = seen("the jobs");
        migrate(&path).await.expect("the newest schema");
        assert_eq!(seen("the same jobs"), before);
        let writer = open_writer(&path).expect("a writer");
        let calls = "select group_concat(state || iif(job is null, '', '*'), ' ')
            from calls left join unfinished on job = ordinal";
        let calls: String = writer.query_row(calls, (), |row| row.get(0)).expect("the calls");
        assert_eq!(calls, "pending* running done done done");
        let ends = "select group_concat(job || ' ' || indexed, ', ') from ends";
        let ends: String = writer.query_row(ends, (), |row| row.get(0)).expect("the ends");
        assert_eq!(ends, "3 0, 4 1, 5 1");
        writer.execute("delete from calls where ordinal = 2", ()).expect_err("it has a callback");
    }

    #[tokio::test]
    async fn deliveries_of_an_older_schema_are_on_nobodys_way_and_nobody_died_of_them() {
        const DELIVERIES: &str = "insert into callbacks (ordinal, id, job, url, host, created_at) values (1, randomblob(16), 7, 'u', 'h', 5);
            insert into deliveries (callback, job, host, state, next_at, attempts, body) values (1, 7, 'h', 'pending', 9, 2, '{}')";
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        let job = "insert into calls (ordinal, id, function, queue, priority, on_interrupt, state, version, seq, attempt, created_at,
            arguments_bytes) values (7, randomblob(16), 'f', 'q', 0, 'rerun', 'pending', 1, 1, 0, 5, 2)";
        older(&path, 9, job).await;
        open_writer(&path).expect("a writer").execute_batch(DELIVERIES).expect("a delivery");
        migrate(&path).await.expect("the newest schema");
        let writer = open_writer(&path).expect("a writer");
        let kept = "select concat_ws(' ', d.state, d.next_at, d.attempts, d.body, d.deaths, coalesce(d.begun, '-'), r.turn_at)
            from deliveries as d join receivers as r on r.host = d.host";
        let kept: String = writer.query_row(kept, (), |row| row.get(0)).expect("the delivery");
        assert_eq!(kept, "pending 9 2 {} 0 - 9");
    }

    #[tokio::test]
    async fn statistics_of_a_database_that_was_small_lead_nobody_through_a_large_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        migrate(&path).await.expect("a database");
        let plan = || -> String {
            let writer = open_writer(&path).expect("a writer");
            let explain = "explain query plan select * from jobs where id = x'00'";
            let mut explain = writer.prepare(explain).expect("a statement");
            let steps = explain.query_map((), |row| row.get("detail")).expect("a plan");
            steps.collect::<Result<Vec<String>, _>>().expect("steps").join(", ")
        };
        let by_key = plan();
        assert!(!by_key.contains("SCAN"), "{by_key}");
        let small = "insert into ends (job, state, version, seq, finished_at, indexed) values (1, 'cancelled', 1, 1, 1, 0);
            analyze";
        open_writer(&path).expect("a writer").execute_batch(small).expect("statistics");
        assert!(plan().contains("SCAN e"), "SQLite takes them to heart");
        migrate(&path).await.expect("a schema that is up to date");
        assert_eq!(plan(), by_key);
    }

    #[tokio::test]
    async fn a_connection_that_is_opened_writes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = DatabasePath::from(directory.path().join("futurity.db"));
        migrate(&path).await.expect("a database");
        let writer = open_writer(&path).expect("a writer");
        writer.execute("update counters set epoch = 1", ()).expect("a commit");
        let log = || std::fs::metadata(wal_path(&path.file)).expect("a log").len();
        let before = log();
        let readers = open_readers(&path).await.expect("readers");
        let checkpointer = open_checkpointer(&path).expect("a checkpointer");
        assert_eq!(log(), before);
        drop((readers, checkpointer));
    }
}
