//! Requests that were made before, as a reader sees them.

use uuid::Uuid;

use crate::domain::{Identity, JobId};
use crate::store::codec;
use crate::store::contract::Failure;
use crate::store::sqlite::handle::Sqlite;

const SELECT_BY_KEY: &str = "select j.id from idempotency_keys as k join calls as j on j.id = k.job
where k.owner = ?1 and k.idempotency_key = ?2 and k.fingerprint = ?3
union all select b.id from idempotency_keys as k join batches as b on b.id = k.job
where k.owner = ?1 and k.idempotency_key = ?2 and k.fingerprint = ?3 and b.going = 0";

const SELECT_BY_ID: &str = "select j.id from calls as j where j.id = ? and j.fingerprint = ?";

impl Sqlite {
    pub async fn repeated(
        &self,
        id: Option<JobId>,
        identity: &Identity,
    ) -> Result<Option<Uuid>, Failure> {
        let fingerprint = identity.fingerprint.0.to_vec();
        let mut found: Option<Vec<u8>> = None;
        if let Some(it) = &identity.key {
            let query = sqlx::query_scalar(SELECT_BY_KEY).bind(&it.owner).bind(it.key.as_str());
            found = query.bind(fingerprint.clone()).fetch_optional(&self.readers).await?;
        }
        if let (None, Some(id)) = (&found, id) {
            let query = sqlx::query_scalar(SELECT_BY_ID).bind(id.0.as_bytes().to_vec());
            found = query.bind(fingerprint).fetch_optional(&self.readers).await?;
        }
        found.map(|id| codec::uuid(&id)).transpose()
    }
}
