//! The ends of jobs that have a tag, in the order of all changes.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::domain::{JobId, Ordinal, State};
use crate::store::codec;
use crate::store::contract::{Ended, Failure, Known, TagEnds};
use crate::store::sqlite::change_feed::read::{entries, known, place};
use crate::store::sqlite::handle::Sqlite;

const SELECT_CHANGED: &str =
    "select c.id, e.job, e.state, e.seq from ends as e join calls as c on c.ordinal = e.job
where e.job in (select p.value from json_each(?1) as p) and e.seq > ?2 and e.seq <= ?3
    and exists (select 1 from json_each(c.labels, '$[0]') as t where t.value = ?4)
order by e.seq";
/// Through the whole table: for whoever comes back so late that the log of changes does not reach back to it.
const SELECT_ALL: &str =
    "select c.id, e.job, e.state, e.seq from ends as e join calls as c on c.ordinal = e.job
where e.seq > ?1 and exists (select 1 from json_each(c.labels, '$[0]') as t where t.value = ?2)
order by e.seq limit ?3";

impl Sqlite {
    pub async fn tag_ends(&self, tag: &str, after: i64, most: usize) -> Result<TagEnds, Failure> {
        let mut connection = self.readers.acquire().await?;
        let mut snapshot = connection.begin().await?;
        let Known { floor, head } = known(&mut snapshot).await?;
        if after >= head {
            return Ok(TagEnds { ends: Vec::new(), to: after });
        }
        if after < floor {
            return all(&mut snapshot, tag, after, most, head).await;
        }
        let (entries, to) = entries(&mut snapshot, after, most).await?;
        let places: Vec<i64> = entries.iter().filter_map(|(_, entry)| place(entry)).collect();
        let places = serde_json::to_string(&places).map_err(codec::damaged)?;
        let query = sqlx::query(SELECT_CHANGED).bind(places).bind(after).bind(to).bind(tag);
        let found = query.fetch_all(&mut *snapshot).await?;
        Ok(TagEnds { ends: found.iter().map(ended).collect::<Result<_, _>>()?, to })
    }
}

async fn all(
    snapshot: &mut SqliteConnection,
    tag: &str,
    after: i64,
    most: usize,
    head: i64,
) -> Result<TagEnds, Failure> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let query = sqlx::query(SELECT_ALL).bind(after).bind(tag).bind(limit);
    let found = query.fetch_all(snapshot).await?;
    let ends = found.iter().map(ended).collect::<Result<Vec<_>, _>>()?;
    let to = ends.last().filter(|_| ends.len() >= most).map_or(head, |last| last.seq);
    Ok(TagEnds { ends, to })
}

fn ended(row: &SqliteRow) -> Result<Ended, Failure> {
    Ok(Ended {
        id: JobId(codec::uuid(row.try_get(0)?)?),
        ordinal: Ordinal(row.try_get(1)?),
        state: codec::known(State::parse, row.try_get(2)?)?,
        seq: row.try_get(3)?,
    })
}
