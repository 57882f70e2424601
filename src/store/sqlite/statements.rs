//! The connection of the writer, and what is prepared on it.

use crate::domain::Timestamp;
use rusqlite::{CachedStatement, Connection, Params, Row, params};

use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::hot::statements::{Hot, HotStatements};

const BEGIN: &str = "begin immediate";

const COMMIT: &str = "commit";

const ROLL_BACK: &str = "rollback";

const KEEP_COUNTERS: &str =
    "update counters set ordinal = ?, seq = ?, payload = ? where only_row = 1";

/// The writer's statements, prepared once for its connection.
#[derive(Clone, Copy, Debug)]
pub struct Statements<'a> {
    connection: &'a Connection,
    pub hot: &'a dyn Hot,
}

impl<'a> Statements<'a> {
    pub fn new(connection: &'a Connection, held: &'a HotStatements<'_>) -> Self {
        Self { connection, hot: held }
    }

    pub fn connection(self) -> &'a Connection {
        self.connection
    }

    pub fn begin(self) -> rusqlite::Result<()> {
        self.run(BEGIN, ()).map(drop)
    }

    /// Durable when this returns.
    pub fn commit(self) -> rusqlite::Result<()> {
        self.run(COMMIT, ()).map(drop)
    }

    /// Takes back what is open; SQLite may have done so by itself.
    pub fn roll_back(self) {
        if self.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.run(ROLL_BACK, ()) {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// Keeps the counters that never go back.
    pub fn keep(self, counters: Counters) -> rusqlite::Result<()> {
        let Counters { ordinal, seq, payload, .. } = counters;
        self.run(KEEP_COUNTERS, params![ordinal, seq, payload]).map(drop)
    }

    /// Runs a statement; gives how many rows it has changed.
    pub fn run(self, sql: &'static str, values: impl Params) -> rusqlite::Result<usize> {
        self.prepared(sql)?.execute(values)
    }

    /// A statement, ready to be given its values.
    pub fn prepared(self, sql: &'static str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }
}

/// A column that may have no moment.
pub fn moment(row: &Row<'_>) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp))
}

/// A number of rows, as SQLite counts them.
pub fn limit_of(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
