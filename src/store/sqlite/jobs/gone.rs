//! Whether a job or batch was there, a moment ago.

use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::contract::{DAY_MS, Failure};
use crate::store::sqlite::handle::Sqlite;

/// A batch that is being removed has no tombstone yet.
const SELECT_GONE: &str = "select t.gone_at from tombstones as t where t.id = ?1
union all select b.expires_at from batches as b where b.id = ?1 and b.going = 1 limit 1";

impl Sqlite {
    pub async fn is_gone(&self, id: Uuid, now: Timestamp) -> Result<bool, Failure> {
        let query = sqlx::query_scalar(SELECT_GONE).bind(id.as_bytes().to_vec());
        let gone_at: Option<i64> = query.fetch_optional(&self.readers).await?;
        Ok(gone_at.is_some_and(|at| now.millis_since(Timestamp(at)) < DAY_MS))
    }
}
