//! Since when the oldest jobs of queues have waited.

use std::collections::HashMap;

use sqlx::Row as _;

use crate::domain::{Ordinal, Timestamp};
use crate::store::contract::Failure;
use crate::store::sqlite::handle::Sqlite;

/// A job that was not to start at once has waited only since it might have started.
const SELECT_SINCE: &str =
    "select ordinal, max(created_at, coalesce(run_at, created_at)) from calls
where ordinal in (select e.value from json_each(?) as e)";

impl Sqlite {
    pub async fn waiting_since(
        &self,
        jobs: &[Ordinal],
    ) -> Result<HashMap<Ordinal, Timestamp>, Failure> {
        if jobs.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<i64> = jobs.iter().map(|ordinal| ordinal.0).collect();
        let places =
            serde_json::to_string(&places).map_err(|error| Failure::Damaged(error.to_string()))?;
        let found = sqlx::query(SELECT_SINCE).bind(places).fetch_all(&self.readers).await?;
        let since = |row: &sqlx::sqlite::SqliteRow| {
            Ok((Ordinal(row.try_get(0)?), Timestamp(row.try_get(1)?)))
        };
        found.iter().map(since).collect()
    }
}
