//! Many jobs at once: which of them are done, and in which order.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqlitePool};

use crate::domain::{Job, JobError, JobId, Json, Ordinal, State};
use crate::store::codec;
use crate::store::contract::{Ended, Failure, Portion, Standing, View};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::read::{self, SELECT_AT};

const SELECT_ENDS: &str = "select j.id, j.ordinal, j.state, j.finished_seq
from json_each(?) as e cross join jobs as j where j.id = unhex(e.value)";

impl Sqlite {
    pub async fn standings(&self, ids: &[JobId]) -> Result<Vec<Standing>, Failure> {
        let hex: Vec<String> = ids.iter().map(|id| id.0.simple().to_string()).collect();
        let hex = serde_json::to_string(&hex).map_err(codec::damaged)?;
        let mut connection = self.readers.acquire().await?;
        let found = sqlx::query(SELECT_ENDS).bind(hex).fetch_all(&mut *connection).await?;
        found.iter().map(standing).collect()
    }

    pub async fn jobs_at(
        &self,
        places: &[Ordinal],
        view: View,
        bytes_max: usize,
    ) -> Result<Portion, Failure> {
        jobs_at(&self.readers, places, view, bytes_max).await
    }
}

/// The jobs at the first of those places, in their order: as many as have about so many bytes together.
pub async fn jobs_at(
    readers: &SqlitePool,
    places: &[Ordinal],
    view: View,
    bytes_max: usize,
) -> Result<Portion, Failure> {
    let ordinals: Vec<i64> = places.iter().map(|place| place.0).collect();
    let mut snapshot = readers.begin().await?;
    let listed = serde_json::to_string(&ordinals).map_err(codec::damaged)?;
    let query = sqlx::query(SELECT_AT).bind(listed);
    let mut rows = HashMap::with_capacity(places.len());
    for row in query.fetch_all(&mut *snapshot).await? {
        rows.insert(row.try_get::<i64, _>(0)?, row);
    }
    let (mut portion, mut bytes) = (Portion::default(), 0);
    for ordinal in ordinals {
        if bytes >= bytes_max {
            break;
        }
        portion.places += 1;
        // One that is not there any more is left out.
        if let Some(row) = rows.remove(&ordinal) {
            let job = read::filled(&mut snapshot, &row, view).await?;
            bytes += bytes_of(&job);
            portion.jobs.push(job);
        }
    }
    Ok(portion)
}

/// What a job takes in memory, about.
fn bytes_of(job: &Job) -> usize {
    let errors = job.attempts.as_slice().iter().map(|attempt| &attempt.error).chain(&job.error);
    let result_bytes = job.result.as_ref().map_or(0, Json::len);
    let error_bytes: usize = errors.map(JobError::bytes).sum();
    size_of::<Job>() + job.spec.arguments_bytes() + result_bytes + error_bytes
}

fn standing(row: &SqliteRow) -> Result<Standing, Failure> {
    let id = JobId(codec::uuid(row.try_get(0)?)?);
    let ordinal = Ordinal(row.try_get(1)?);
    let state = codec::known(State::parse, row.try_get(2)?)?;
    let seq: Option<i64> = row.try_get(3)?;
    Ok(Standing { id, ended: seq.map(|seq| Ended { id, ordinal, state, seq }) })
}
