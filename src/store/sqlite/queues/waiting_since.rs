//! Since when the oldest jobs of queues have waited.

use std::collections::HashMap;

use crate::domain::Timestamp;
use crate::store::codec;
use crate::store::contract::{Failure, Queue};
use crate::store::sqlite::handle::Sqlite;

/// A job that was not to start at once has waited only since it might have started.
const SELECT_SINCE: &str =
    "select ordinal, max(created_at, coalesce(run_at, created_at)) from calls
where ordinal in (select e.value from json_each(?) as e)";

impl Sqlite {
    /// Adds since when the oldest jobs of these queues have waited; one that is gone has not.
    pub async fn add_waits(&self, queues: &mut [Queue]) -> Result<(), Failure> {
        let oldest: Vec<i64> = queues.iter().filter_map(|it| Some(it.oldest?.0)).collect();
        if oldest.is_empty() {
            return Ok(());
        }
        let oldest = serde_json::to_string(&oldest).map_err(codec::damaged)?;
        let query = sqlx::query_as(SELECT_SINCE).bind(oldest);
        let found: HashMap<i64, i64> = query.fetch_all(&self.readers).await?.into_iter().collect();
        for queue in queues {
            queue.waits_since =
                queue.oldest.and_then(|it| found.get(&it.0)).copied().map(Timestamp);
        }
        Ok(())
    }
}
