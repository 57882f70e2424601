//! SQLite: connections that are checked, and errors that have a meaning.

pub(super) mod checkpoint;
pub(super) mod log;
#[cfg(test)]
mod plans;
pub(super) mod rows;
mod schema;
pub(super) mod write;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, SqlitePool};

use super::{Cause, DatabasePath, Error, Synchronous};

use schema::VERSION_MIN;
pub(super) use schema::{check_schema, migrate};

/// Only another process, such as a backup, can hold the database; then we wait this long.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// So long a start waits for it, and says so.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Readers at once. More only contend for two or four cores; waiters need none.
pub(super) const READERS_MAX: u32 = 4;

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

const QUICK_CHECK: &str = "pragma quick_check(1)";
const SELECT_PRAGMAS: &str = "select (select journal_mode from pragma_journal_mode),
    (select synchronous from pragma_synchronous), (select auto_vacuum from pragma_auto_vacuum),
    (select foreign_keys from pragma_foreign_keys), (select query_only from pragma_query_only)";

const SELECT_AUTO_VACUUM: &str = "select auto_vacuum from pragma_auto_vacuum";
/// Incremental.
const AUTO_VACUUM: i64 = 2;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The linked SQLite is too old.
    #[error("SQLite {found} is too old: {}.{}.{} or later is needed, because earlier ones can corrupt a \
             database", VERSION_MIN.0, VERSION_MIN.1, VERSION_MIN.2)]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// A connection does not have the settings that durability rests on.
    #[error("the database does not take the settings that durability rests on: {found}")]
    Settings {
        /// What it has instead.
        found: String,
    },
    /// The database was made by a newer Futurity.
    #[error(
        "the database has schema {found}, newer than this program knows; run the newer program"
    )]
    NewerSchema {
        /// Its schema.
        found: i64,
    },
    /// The database was made by an older Futurity.
    #[error(
        "the database has schema {found}, older than this program's; start a server on it once, which brings it up to date"
    )]
    OlderSchema {
        /// Its schema.
        found: i64,
    },
    /// A migration failed, or one that was applied has changed since.
    #[error("the database cannot be migrated: {0}")]
    Migration(MigrateError),
    /// Something that may have been acknowledged is lost (G3).
    #[error(
        "something that was acknowledged is lost: {0}. Put a backup in its place with `futurity restore`, or start once \
         with --accept-data-loss to go on with what is left"
    )]
    Lost(String),
    /// Rows that we wrote do not read back.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Another process has locked it, and does not let go.
    #[error(
        "another process has had {file} locked for {seconds} s: `fuser {file}` shows which; let it finish, or end it, and start again"
    )]
    Locked {
        /// How long it was waited for.
        seconds: u64,
        /// Which file.
        file: String,
    },
    /// Any other failure of the database or its disk.
    #[error("the database cannot be opened: {0}")]
    Sql(Cause),
    /// A thread for the database could not be had.
    #[error("the database cannot be served: {0}")]
    Thread(#[from] io::Error),
}

impl OpenError {
    /// Whether another process has locked the database.
    pub(super) fn is_lock(&self) -> bool {
        match self {
            Self::Sql(cause) => cause.is_lock(),
            Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => code_of(error).is_some_and(is_lock),
            _ => false,
        }
    }
}

impl From<Cause> for OpenError {
    fn from(cause: Cause) -> Self {
        if cause.is_damage() { Self::Damaged(cause.to_string()) } else { Self::Sql(cause) }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Cause::Read(Arc::new(error)).into()
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Cause::Write(Arc::new(error)).into()
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Sql(cause) | Error::NotNow(cause) | Error::OutcomeUnknown(cause) => cause.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Opens the connection that writes.
pub(super) fn open_writer(path: &DatabasePath) -> Result<Connection, OpenError> {
    let connection = Connection::open(&path.file)?;
    connection.busy_timeout(path.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    for (name, value) in PRAGMAS {
        connection.pragma_update(None, name, value)?;
    }
    connection.pragma_update(None, "synchronous", path.synchronous.pragma())?;
    let found = connection.query_row(SELECT_PRAGMAS, (), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    check_settings(found, path.synchronous, false)?;
    Ok(connection)
}

/// Fails if another process is writing at this moment.
pub(super) fn is_free(connection: &Connection, path: &DatabasePath) -> Result<(), OpenError> {
    connection.busy_timeout(Duration::ZERO)?;
    let free = connection.execute_batch("begin immediate; rollback");
    connection.busy_timeout(path.busy_timeout)?;
    Ok(free?)
}

/// Whether the file was made as ours are: what it does not have from the beginning it never gets.
pub(super) fn check_made(connection: &Connection) -> Result<(), OpenError> {
    let auto_vacuum: i64 = connection.query_row(SELECT_AUTO_VACUUM, (), |row| row.get(0))?;
    if auto_vacuum == AUTO_VACUUM {
        return Ok(());
    }
    Err(OpenError::Settings { found: format!("auto_vacuum={auto_vacuum}") })
}

/// Opens a connection that leaves no trace: it neither takes the log into the database nor removes it.
pub(super) fn open_untouched(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The same for readers.
pub(super) async fn open_reader_untouched(file: &Path) -> Result<SqlitePool, OpenError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    Ok(pool.connect_with(options.disable_statement_logging()).await?)
}

/// Looks through the whole database, as far as SQLite can tell.
pub(super) fn check_whole(connection: &Connection) -> Result<(), OpenError> {
    let found: String = connection.query_row(QUICK_CHECK, (), |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Damaged(found)) }
}

/// Opens the connections that only read.
pub(super) async fn open_readers(path: &DatabasePath) -> Result<SqlitePool, OpenError> {
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
pub(super) fn open_checkpointer(path: &DatabasePath) -> Result<Connection, OpenError> {
    open_writer(&DatabasePath { synchronous: Synchronous::Full, ..path.clone() })
}

/// What an error means for the read that met it.
pub(super) fn of_reader(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolClosed => Error::Closed,
        sqlx::Error::PoolTimedOut => Error::NotNow(Cause::Read(Arc::new(error))),
        // A row that is there has the columns that we asked for, of the types that we wrote.
        sqlx::Error::ColumnDecode { .. } => Error::Damaged(error.to_string()),
        other => match classify(Cause::Read(Arc::new(other))) {
            Error::OutcomeUnknown(cause) if cause.is_damage() => Error::Damaged(cause.to_string()),
            failure => failure,
        },
    }
}

/// What an error means for the group that met it.
pub(super) fn of_writer(error: rusqlite::Error) -> Error {
    classify(Cause::Write(Arc::new(error)))
}

/// `SQLITE_IOERR_NOMEM`: for want of memory nothing was asked of the disk.
const IOERR_NOMEM: i32 = 10 | 12 << 8;

fn classify(cause: Cause) -> Error {
    const FULL: i32 = 13;
    const NOT_NOW: [i32; 3] = [5, 6, 7]; // BUSY, LOCKED, NOMEM
    const FAILING: [i32; 5] = [10, 11, 14, 22, 26]; // IOERR, CORRUPT, CANTOPEN, NOLFS, NOTADB
    if cause.code() == Some(IOERR_NOMEM) {
        return Error::NotNow(cause);
    }
    match cause.primary_code() {
        Some(FULL) => Error::Full,
        Some(code) if NOT_NOW.contains(&code) => Error::NotNow(cause),
        Some(code) if FAILING.contains(&code) => Error::OutcomeUnknown(cause),
        _ => Error::Sql(cause),
    }
}

impl Cause {
    /// Whether the file is not what SQLite has written.
    fn is_damage(&self) -> bool {
        const DAMAGED: [i32; 2] = [11, 26]; // CORRUPT, NOTADB
        self.primary_code().is_some_and(|code| DAMAGED.contains(&code))
    }

    /// Whether another process has the database.
    pub(super) fn is_lock(&self) -> bool {
        self.code().is_some_and(is_lock)
    }

    /// The low byte of SQLite's code.
    fn primary_code(&self) -> Option<i32> {
        self.code().map(|extended| extended & 0xff)
    }

    /// SQLite's code, if the database gave one.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Read(error) => code_of(error),
            Self::Write(error) => Some(error.sqlite_error()?.extended_code),
            Self::Disagreement(_) => None,
        }
    }
}

fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn is_lock(code: i32) -> bool {
    const LOCKS: [i32; 2] = [5, 6]; // BUSY, LOCKED
    LOCKS.contains(&(code & 0xff))
}

fn options(path: &DatabasePath) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(&path.file)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value))
}

impl Synchronous {
    fn pragma(self) -> &'static str {
        match self {
            Self::Full => "full",
            #[cfg(debug_assertions)]
            Self::Normal => "normal",
        }
    }

    /// As SQLite reads it back.
    fn number(self) -> i64 {
        match self {
            Self::Full => 2,
            #[cfg(debug_assertions)]
            Self::Normal => 1,
        }
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
    if found == ("wal".to_owned(), synchronous.number(), AUTO_VACUUM, 1, i64::from(query_only)) {
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
