//! What only SQLite promises: rows, indexes, locks and groups as they are there. What every backend must do is in the conformance
//! suite.

pub mod arrivals;
pub mod batches;
pub mod cancel_rules;
pub mod database;
pub mod ends;
pub mod indexing;
pub mod order;
pub mod places;
pub mod refused_for_now;
pub mod removals;

use rusqlite::Connection;

use crate::store::Store;
use crate::store::conformance::TestStore;
use crate::store::sqlite::Sqlite;

impl TestStore {
    pub fn sqlite(&self) -> Sqlite {
        let Store::Sqlite(it) = &self.store;
        it.clone()
    }

    /// Changes the database behind the writer's back.
    pub fn execute(&self, sql: &str) {
        self.backend.0.execute(sql);
    }

    /// One number of the database.
    pub fn select(&self, query: &str) -> i64 {
        self.backend.0.select(query, ())
    }

    /// A connection beside the store's own.
    pub fn aside(&self) -> Connection {
        self.backend.0.aside()
    }

    /// Waits until the writer has taken all that was sent.
    pub async fn until_taken(&self) {
        let writer = self.sqlite().writer;
        loop {
            // Who is to send may not have begun.
            tokio::task::yield_now().await;
            if writer.capacity() == writer.max_capacity() {
                return;
            }
        }
    }
}
