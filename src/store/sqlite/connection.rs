//! Connections whose settings are read back.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, SqlitePool};

use crate::store::contract::{BUSY_TIMEOUT, DatabasePath, Synchronous};
use crate::store::sqlite::error::OpenError;

/// Readers at once. More only contend for two or four cores; waiters need none.
pub const READERS_MAX: u32 = 4;

/// Memory of a reader for pages, in KiB below zero. What it does not have the kernel has.
const READER_CACHE: &str = "-4096";

/// Statements that the writer keeps prepared; more than it has.
const STATEMENTS_MAX: usize = 128;

/// What every connection is told. The page on decision 0012 has how the engine is built.
const PRAGMAS: [(&str, &str); 6] = [
    ("journal_mode", "wal"),
    ("synchronous", "full"),
    ("foreign_keys", "on"),
    // The checkpointer does this, off the writer's path.
    ("wal_autocheckpoint", "0"),
    ("cache_size", "-16384"),
    ("temp_store", "memory"),
];

const SELECT_AUTO_VACUUM: &str = "select auto_vacuum from pragma_auto_vacuum";
/// Incremental.
const AUTO_VACUUM: i64 = 2;
const QUICK_CHECK: &str = "pragma quick_check(1)";

const SELECT_PRAGMAS: &str = "select (select journal_mode from pragma_journal_mode),
    (select synchronous from pragma_synchronous), (select auto_vacuum from pragma_auto_vacuum),
    (select foreign_keys from pragma_foreign_keys), (select query_only from pragma_query_only)";

/// Opens the connection that writes.
pub fn open_writer(path: &DatabasePath) -> Result<Connection, OpenError> {
    let connection = Connection::open(&path.file)?;
    connection.busy_timeout(path.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    for (name, value) in PRAGMAS {
        connection.pragma_update(None, name, value)?;
    }
    connection.pragma_update(None, "synchronous", pragma(path.synchronous))?;
    let found = connection.query_row(SELECT_PRAGMAS, (), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    check_settings(found, path.synchronous, false)?;
    Ok(connection)
}

/// Fails if another process is writing at this moment.
pub fn is_free(connection: &Connection, path: &DatabasePath) -> Result<(), OpenError> {
    connection.busy_timeout(Duration::ZERO)?;
    let free = connection.execute_batch("begin immediate; rollback");
    connection.busy_timeout(path.busy_timeout)?;
    Ok(free?)
}

/// Whether the file was made as ours are: what it does not have from the beginning it never gets.
pub fn check_made(connection: &Connection) -> Result<(), OpenError> {
    let auto_vacuum: i64 = connection.query_row(SELECT_AUTO_VACUUM, (), |row| row.get(0))?;
    if auto_vacuum == AUTO_VACUUM {
        return Ok(());
    }
    Err(OpenError::Settings { found: format!("auto_vacuum={auto_vacuum}") })
}

/// Opens a connection that leaves no trace: it neither takes the log into the database nor removes it.
pub fn open_untouched(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The same for readers.
pub async fn open_reader_untouched(file: &Path) -> Result<SqlitePool, OpenError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    Ok(pool.connect_with(options.disable_statement_logging()).await?)
}

/// Looks through the whole database, as far as SQLite can tell.
pub fn check_whole(connection: &Connection) -> Result<(), OpenError> {
    let found: String = connection.query_row(QUICK_CHECK, (), |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Damaged(found)) }
}

/// Opens the connections that only read.
pub async fn open_readers(path: &DatabasePath) -> Result<SqlitePool, OpenError> {
    let options = options(path).pragma("query_only", "1").pragma("cache_size", READER_CACHE);
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let found = sqlx::query_as(SELECT_PRAGMAS).fetch_one(connection).await?;
                check_settings(found, Synchronous::Full, true)
                    .map_err(|error| sqlx::Error::Configuration(Box::new(error)))
            })
        });
    Ok(pool.connect_with(options).await?)
}

/// Opens a connection for checkpoints.
pub fn open_checkpointer(path: &DatabasePath) -> Result<Connection, OpenError> {
    open_writer(&DatabasePath { synchronous: Synchronous::Full, ..path.clone() })
}

pub fn options(path: &DatabasePath) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(&path.file)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value))
}

fn pragma(synchronous: Synchronous) -> &'static str {
    match synchronous {
        Synchronous::Full => "full",
        #[cfg(debug_assertions)]
        Synchronous::Normal => "normal",
    }
}

/// As SQLite reads it back.
fn number(synchronous: Synchronous) -> i64 {
    match synchronous {
        Synchronous::Full => 2,
        #[cfg(debug_assertions)]
        Synchronous::Normal => 1,
    }
}

/// Journal mode, synchronous, automatic vacuum, foreign keys, query only.
type Settings = (String, i64, i64, i64, i64);

/// Compares the settings as they were read back: a pragma that is misspelt or refused says nothing.
fn check_settings(
    found: Settings,
    synchronous: Synchronous,
    query_only: bool,
) -> Result<(), OpenError> {
    if found == ("wal".to_owned(), number(synchronous), AUTO_VACUUM, 1, i64::from(query_only)) {
        return Ok(());
    }
    let (journal_mode, synchronous, auto_vacuum, foreign_keys, query_only) = found;
    Err(OpenError::Settings {
        found: format!(
            "journal_mode={journal_mode} synchronous={synchronous} auto_vacuum={auto_vacuum} \
             foreign_keys={foreign_keys} query_only={query_only}"
        ),
    })
}
