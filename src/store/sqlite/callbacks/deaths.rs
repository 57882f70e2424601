//! Deliveries that were on their way when a server ended.

use rusqlite::params;

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{CRASHES_MAX, CRASHES_SUSPECT, Ordinal, Timestamp};
use crate::store::contract::Failure;
use crate::store::sqlite::callbacks::{deliver, find};
use crate::store::sqlite::jobs::remove;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;

const BRING_FORWARD: &str =
    "update deliveries set next_at = ?1 where state = 'pending' and next_at > ?1";

/// What was on its way when the last server ended.
const SELECT_BEGUN: &str =
    "select callback, begun, deaths, attempts from deliveries where begun is not null";

const DIED_DURING: &str = "update deliveries set begun = null, deaths = ?2 where callback = ?1";

const DIED_TOO_OFTEN: &str =
    "update deliveries set begun = null, deaths = ?2, attempts = ?3, state = 'failed', next_at = null
where callback = ?1 and state = 'pending'";

/// A delivery that was on its way.
#[derive(Debug)]
pub struct BegunRow {
    pub callback: Ordinal,
    /// Of the server that sent it.
    pub epoch: i64,
    pub deaths: u32,
    /// What is recorded of it.
    pub attempts: usize,
}

/// What a start makes of the deliveries that were on their way.
#[derive(Debug, Default)]
pub struct Begun {
    /// Those during which servers have died so often that the next time they will be taken for the cause.
    pub suspects: Vec<Ordinal>,
    /// Whether one is taken for it now.
    pub has_culprit: bool,
}

/// Counts the death of the last server for the deliveries that were on their way, unless it ended by itself. The third
/// time a delivery has failed; it can be made once more if somebody asks for it.
pub fn recover_deliveries(txn: &mut Txn<'_>, ended: Option<i64>) -> Result<Begun, Failure> {
    let mut found = Begun::default();
    for it in deliveries_begun(txn.sql)? {
        let died = Some(it.epoch) != ended;
        let deaths = it.deaths + u32::from(died);
        if !died || deaths < CRASHES_MAX {
            died_during(txn.sql, it.callback, deaths)?;
            found.suspects.extend((deaths >= CRASHES_SUSPECT).then_some(it.callback));
            continue;
        }
        found.has_culprit = true;
        let error = Some(format!("the server died {deaths} times while this was being sent"));
        let (at, status, body, duration_ms) = (txn.now, None, None, 0);
        let attempt = DeliveryAttempt { at, status, error, body, duration_ms };
        died_too_often(txn.sql, it.callback, (it.attempts + 1, &attempt), deaths)?;
        tracing::error!(
            callback = it.callback.0,
            deaths,
            "a delivery during which servers died has failed"
        );
        let job = find::job_of(txn.sql, it.callback)?;
        job.map_or(Ok(()), |job| remove::expire_if_over(txn, job))?;
    }
    Ok(found)
}

/// No delivery is due later than `latest`.
pub fn bring_forward(txn: &mut Txn<'_>, latest: Timestamp) -> Result<usize, Failure> {
    Ok(write_bring_forward(txn.sql, latest)?)
}

/// What was on its way when a server ended.
pub fn deliveries_begun(sql: Statements<'_>) -> rusqlite::Result<Vec<BegunRow>> {
    let mut statement = sql.prepared(SELECT_BEGUN)?;
    let begun = statement.query_map((), |row| {
        let attempts = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
        let (callback, epoch) = (Ordinal(row.get(0)?), row.get(1)?);
        Ok(BegunRow { callback, epoch, deaths: row.get(2)?, attempts })
    })?;
    begun.collect()
}

/// Nobody sends it now; so many servers have died of it.
pub fn died_during(sql: Statements<'_>, callback: Ordinal, deaths: u32) -> rusqlite::Result<()> {
    sql.run(DIED_DURING, params![callback.0, deaths]).map(drop)
}

/// So many servers have died of a delivery that it is over, by an attempt of that number.
pub fn died_too_often(
    sql: Statements<'_>,
    callback: Ordinal,
    (number, attempt): (usize, &DeliveryAttempt),
    deaths: u32,
) -> rusqlite::Result<()> {
    let attempts = i64::try_from(number).unwrap_or(i64::MAX);
    if sql.run(DIED_TOO_OFTEN, params![callback.0, deaths, attempts])? == 1 {
        deliver::insert_attempt(sql, callback, number, attempt)?;
    }
    Ok(())
}

/// No delivery is due later than `latest`: a schedule is a matter of time that passed, and the clock of
/// the last server may have been ahead of this one's.
pub fn write_bring_forward(sql: Statements<'_>, latest: Timestamp) -> rusqlite::Result<usize> {
    sql.run(BRING_FORWARD, [latest.0])
}
