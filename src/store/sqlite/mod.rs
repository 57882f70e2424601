//! SQLite: connections that are checked, and errors that have a meaning.

pub(super) mod checkpoint;
#[cfg(test)]
mod plans;
pub(super) mod rows;
pub(super) mod script;

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};

use super::{DatabasePath, Error, Synchronous};

/// SQLite before this can corrupt a database when two connections reset its WAL at once.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// Only another process, such as a backup, can hold the database; then we wait this long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers at once. More only contend for two or four cores; waiters need none.
const READERS_MAX: u32 = 4;

const MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const SELECT_VERSION: &str = "select sqlite_version()";
const SELECT_PRAGMAS: &str = "select (select journal_mode from pragma_journal_mode),
    (select synchronous from pragma_synchronous), (select auto_vacuum from pragma_auto_vacuum),
    (select foreign_keys from pragma_foreign_keys), (select query_only from pragma_query_only)";

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
    /// A migration failed, or one that was applied has changed since.
    #[error("the database cannot be migrated: {0}")]
    Migration(MigrateError),
    /// Rows that we wrote do not read back.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Any other failure of the database or its disk.
    #[error("the database cannot be opened: {0}")]
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        const DAMAGED: [i32; 2] = [11, 26]; // CORRUPT, NOTADB
        match primary_code(&error) {
            Some(code) if DAMAGED.contains(&code) => Self::Damaged(error.to_string()),
            _ => Self::Sql(error),
        }
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged(_) => Self::Damaged(error.to_string()),
            Error::Sql(error) | Error::OutcomeUnknown(error) => Arc::try_unwrap(error)
                .unwrap_or_else(|shared| sqlx::Error::Protocol(shared.to_string()))
                .into(),
            other => Self::Sql(sqlx::Error::Protocol(other.to_string())),
        }
    }
}

/// Opens the connection that writes, making and migrating the database if need be.
pub(super) async fn open_writer(path: &DatabasePath) -> Result<SqliteConnection, OpenError> {
    let options = options(path)
        .create_if_missing(true)
        .pragma("synchronous", path.synchronous.pragma())
        .pragma("query_only", "0");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    check_version(&mut connection).await?;
    check_settings(&mut connection, path.synchronous, false).await?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::NewerSchema { found },
        other => OpenError::Migration(other),
    })?;
    sqlx::raw_sql(script::PREPARE).execute(&mut connection).await?;
    Ok(connection)
}

/// Opens the connections that only read.
pub(super) async fn open_readers(path: &DatabasePath) -> Result<SqlitePool, OpenError> {
    let options = options(path).pragma("query_only", "1");
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                check_settings(connection, Synchronous::Full, true).await.map_err(|error| {
                    match error {
                        OpenError::Sql(error) => error,
                        other => sqlx::Error::Configuration(Box::new(other)),
                    }
                })
            })
        });
    Ok(pool.connect_with(options).await?)
}

/// Opens a connection for checkpoints.
pub(super) async fn open_checkpointer(path: &DatabasePath) -> Result<SqliteConnection, OpenError> {
    let mut connection = SqliteConnection::connect_with(&options(path)).await?;
    check_settings(&mut connection, Synchronous::Full, false).await?;
    Ok(connection)
}

/// What an error means for the write that met it.
pub(super) fn classify(error: sqlx::Error) -> Error {
    const FULL: i32 = 13;
    const FAILING: [i32; 5] = [10, 11, 14, 22, 26]; // IOERR, CORRUPT, CANTOPEN, NOLFS, NOTADB
    match primary_code(&error) {
        Some(FULL) => Error::Full,
        Some(code) if FAILING.contains(&code) => Error::OutcomeUnknown(Arc::new(error)),
        _ => match error {
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => {
                Error::OutcomeUnknown(Arc::new(error))
            }
            sqlx::Error::PoolClosed => Error::Closed,
            other => Error::Sql(Arc::new(other)),
        },
    }
}

/// SQLite's code, if the database gave one: the low byte of the extended code.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

fn options(path: &DatabasePath) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&path.file)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // Before the first table is made; later it cannot be turned on.
        .pragma("auto_vacuum", "incremental")
        .pragma("journal_mode", "wal")
        .pragma("synchronous", Synchronous::Full.pragma())
        // The checkpointer does this, off the writer's path.
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-16384")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
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

async fn check_version(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let found: String = sqlx::query_scalar(SELECT_VERSION).fetch_one(connection).await?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    if version < VERSION_MIN { Err(OpenError::OldSqlite { found }) } else { Ok(()) }
}

/// Reads the settings back: a pragma that is misspelt or refused says nothing.
async fn check_settings(
    connection: &mut SqliteConnection,
    synchronous: Synchronous,
    query_only: bool,
) -> Result<(), OpenError> {
    let wanted = ("wal".to_owned(), synchronous.number(), 2_i64, 1_i64, i64::from(query_only));
    let found: (String, i64, i64, i64, i64) =
        sqlx::query_as(SELECT_PRAGMAS).fetch_one(connection).await?;
    if found == wanted {
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
