//! Many jobs at once: which of them are done, and in which order.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{Job, JobId, Ordinal, State};
use crate::store::sqlite::rows;
use crate::store::{Ended, Error, Store};

use super::{View, at};

const SELECT_ENDS: &str = "select j.id, j.ordinal, j.state, j.finished_seq
from json_each(?) as e cross join jobs as j where j.id = unhex(e.value)";

/// How one of many jobs stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub id: JobId,
    /// Its end; none if it is not done.
    pub ended: Option<Ended>,
}

impl Store {
    /// How those of these jobs stand that are there, at one moment, in the order asked.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn standings(&self, ids: &[JobId]) -> Result<Vec<Standing>, Error> {
        let hex: Vec<String> = ids.iter().map(|id| id.0.simple().to_string()).collect();
        let hex = serde_json::to_string(&hex).map_err(rows::damaged)?;
        let mut connection = self.readers.acquire().await?;
        let found = sqlx::query(SELECT_ENDS).bind(hex).fetch_all(&mut *connection).await?;
        found.iter().map(standing).collect()
    }

    /// The jobs at those places that are still there, without large values, in the order of submission.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn brief_at(&self, ordinals: &[Ordinal]) -> Result<Vec<Job>, Error> {
        at(&self.readers, ordinals, View::Brief).await
    }
}

fn standing(row: &SqliteRow) -> Result<Standing, Error> {
    let id = JobId(rows::uuid(row.try_get(0)?)?);
    let ordinal = Ordinal(row.try_get(1)?);
    let state = rows::known(State::parse, row.try_get(2)?)?;
    let seq: Option<i64> = row.try_get(3)?;
    Ok(Standing { id, ended: seq.map(|seq| Ended { id, ordinal, state, seq }) })
}
