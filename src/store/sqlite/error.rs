//! What the errors of SQLite mean.

use std::io;

use sqlx::migrate::MigrateError;

use crate::store::contract::{Cause, Error, Failure};

/// SQLite before this can corrupt a database when two connections reset its WAL at once.
pub const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

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
    pub fn is_lock(&self) -> bool {
        match self {
            Self::Sql(cause) => code(cause).is_some_and(is_lock),
            Self::Migration(
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            ) => code_of(error).is_some_and(is_lock),
            _ => false,
        }
    }
}

impl From<Cause> for OpenError {
    fn from(cause: Cause) -> Self {
        if is_damage(&cause) { Self::Damaged(cause.to_string()) } else { Self::Sql(cause) }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Cause::of(error).into()
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Cause::of(error).into()
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(cause) | Failure::NotNow(cause) | Failure::OutcomeUnknown(cause) => {
                cause.into()
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// What an error means for the read that met it.
impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed => Self::Closed,
            sqlx::Error::PoolTimedOut => Self::NotNow(Cause::of(error)),
            // A row that is there has the columns that we asked for, of the types that we wrote.
            sqlx::Error::ColumnDecode { .. } => Self::Damaged(error.to_string()),
            other => match classify(Cause::of(other)) {
                Self::OutcomeUnknown(cause) if is_damage(&cause) => {
                    Self::Damaged(cause.to_string())
                }
                failure => failure,
            },
        }
    }
}

/// What an error means for the group that met it.
impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        classify(Cause::of(error))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// That a row is not what the slots have of it.
#[derive(Debug, thiserror::Error)]
#[error("slots and database disagree: {0}")]
struct Disagreement(String);

/// What the guard of a write found is not what the slots had: nothing may go on.
pub fn disagree(text: String) -> Failure {
    Failure::OutcomeUnknown(Cause::of(Disagreement(text)))
}

/// Whether another process has locked the database.
pub fn is_locked(failure: &Failure) -> bool {
    matches!(failure, Failure::NotNow(cause) if code(cause).is_some_and(is_lock))
}

fn is_lock(code: i32) -> bool {
    const LOCKS: [i32; 2] = [5, 6]; // BUSY, LOCKED
    LOCKS.contains(&(code & 0xff))
}

/// `SQLITE_IOERR_NOMEM`: for want of memory nothing was asked of the disk.
const IOERR_NOMEM: i32 = 10 | 12 << 8;

fn classify(cause: Cause) -> Failure {
    const FULL: i32 = 13;
    const NOT_NOW: [i32; 3] = [5, 6, 7]; // BUSY, LOCKED, NOMEM
    const FAILING: [i32; 5] = [10, 11, 14, 22, 26]; // IOERR, CORRUPT, CANTOPEN, NOLFS, NOTADB
    if code(&cause) == Some(IOERR_NOMEM) {
        return Failure::NotNow(cause);
    }
    match primary_code(&cause) {
        Some(FULL) => Failure::Full,
        Some(code) if NOT_NOW.contains(&code) => Failure::NotNow(cause),
        Some(code) if FAILING.contains(&code) => Failure::OutcomeUnknown(cause),
        _ => Failure::Sql(cause),
    }
}

/// Whether the file is not what SQLite has written.
fn is_damage(cause: &Cause) -> bool {
    const DAMAGED: [i32; 2] = [11, 26]; // CORRUPT, NOTADB
    primary_code(cause).is_some_and(|code| DAMAGED.contains(&code))
}

/// The low byte of SQLite's code.
fn primary_code(cause: &Cause) -> Option<i32> {
    code(cause).map(|extended| extended & 0xff)
}

/// SQLite's code, if the database gave one.
fn code(cause: &Cause) -> Option<i32> {
    if let Some(error) = cause.of_type::<rusqlite::Error>() {
        return Some(error.sqlite_error()?.extended_code);
    }
    code_of(cause.of_type::<sqlx::Error>()?)
}

fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
