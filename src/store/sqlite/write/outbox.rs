//! What was sent, and what comes of it. Turns of receivers follow by the triggers of migration 6.

use rusqlite::{Result, params};

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{Ordinal, Timestamp};
use crate::store::change::DeliveryReport;

use super::Statements;

/// See [`crate::store::read`]: a body that is too large is not sent.
const KEEP_BODY: &str = "update deliveries set body = ?2, begun = ?3
where callback = ?1 and (body is null or octet_length(body) > 262144) and state = 'pending'";
const BEGIN: &str = "update deliveries set begun = ?2 where callback = ?1 and state = 'pending'";
const INSERT_ATTEMPT: &str =
    "insert into delivery_attempts (callback, number, at, status, error, body, duration_ms)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (callback, number) do nothing";
const SET_DELIVERY: &str =
    "update deliveries set attempts = ?2, state = ?3, next_at = ?4, begun = null
where callback = ?1 and state = 'pending' and attempts = ?2 - 1";
/// A receiver that has more to get stands behind those that have waited while it was served.
const SET_PACE: &str =
    "update receivers set pace = ?2, used_at = ?3, turn_at = max(turn_at, ?3) where host = ?1";
const BRING_FORWARD: &str =
    "update deliveries set next_at = ?1 where state = 'pending' and next_at > ?1";
/// What was on its way when the last server ended.
const SELECT_BEGUN: &str =
    "select callback, begun, deaths, attempts from deliveries where begun is not null";
const DIED_DURING: &str = "update deliveries set begun = null, deaths = ?2 where callback = ?1";
const DIED_TOO_OFTEN: &str =
    "update deliveries set begun = null, deaths = ?2, attempts = ?3, state = 'failed', next_at = null
where callback = ?1 and state = 'pending'";
const FORGET_RECEIVERS: &str = "delete from receivers where host in
    (select host from receivers where turn_at is null and used_at < ?1 order by used_at limit ?2)";

/// A delivery that was on its way.
#[derive(Debug)]
pub(in crate::store) struct BegunRow {
    pub(in crate::store) callback: Ordinal,
    /// Of the server that sent it.
    pub(in crate::store) epoch: i64,
    pub(in crate::store) deaths: u32,
    /// What is recorded of it.
    pub(in crate::store) attempts: usize,
}

impl Statements<'_> {
    /// Keeps the body of a delivery, which is on its way from here on.
    pub(in crate::store) fn keep_delivery_body(
        self,
        callback: Ordinal,
        body: &str,
        epoch: i64,
    ) -> Result<()> {
        self.run(KEEP_BODY, params![callback.0, body, epoch]).map(drop)
    }

    /// A delivery that has a body is on its way from here on.
    pub(in crate::store) fn begin_delivery(self, callback: Ordinal, epoch: i64) -> Result<()> {
        self.run(BEGIN, [callback.0, epoch]).map(drop)
    }

    /// What was on its way when a server ended.
    pub(in crate::store) fn deliveries_begun(self) -> Result<Vec<BegunRow>> {
        let mut statement = self.prepared(SELECT_BEGUN)?;
        let begun = statement.query_map((), |row| {
            let attempts = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
            let (callback, epoch) = (Ordinal(row.get(0)?), row.get(1)?);
            Ok(BegunRow { callback, epoch, deaths: row.get(2)?, attempts })
        })?;
        begun.collect()
    }

    /// Nobody sends it now; so many servers have died of it.
    pub(in crate::store) fn died_during(self, callback: Ordinal, deaths: u32) -> Result<()> {
        self.run(DIED_DURING, params![callback.0, deaths]).map(drop)
    }

    /// So many servers have died of a delivery that it is over, by an attempt of that number.
    pub(in crate::store) fn died_too_often(
        self,
        callback: Ordinal,
        (number, attempt): (usize, &DeliveryAttempt),
        deaths: u32,
    ) -> Result<()> {
        let attempts = i64::try_from(number).unwrap_or(i64::MAX);
        if self.run(DIED_TOO_OFTEN, params![callback.0, deaths, attempts])? == 1 {
            self.insert_attempt(callback, number, attempt)?;
        }
        Ok(())
    }

    fn insert_attempt(
        self,
        callback: Ordinal,
        number: usize,
        attempt: &DeliveryAttempt,
    ) -> Result<()> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let made = params![
            callback.0,
            number,
            attempt.at.0,
            attempt.status,
            attempt.error,
            attempt.body,
            attempt.duration_ms
        ];
        self.run(INSERT_ATTEMPT, made).map(drop)
    }

    /// Keeps one POST and what becomes of its delivery.
    pub(in crate::store) fn record_delivery(
        self,
        report: &DeliveryReport,
        now: Timestamp,
    ) -> Result<()> {
        let number = i64::try_from(report.number).unwrap_or(i64::MAX);
        let next_at = report.next_at.map(|at| at.0);
        let next = params![report.callback.0, number, report.state.as_str(), next_at];
        // The callback may have been taken away while the POST was on its way; then nobody asks what came of it.
        if self.run(SET_DELIVERY, next)? == 1 {
            self.insert_attempt(report.callback, report.number, &report.attempt)?;
        }
        let pace = params![report.host, report.pace.as_str(), now.0];
        self.run(SET_PACE, pace).map(drop)
    }

    /// No delivery is due later than `latest`: a schedule is a matter of time that passed, and the clock of
    /// the last server may have been ahead of this one's.
    pub(in crate::store) fn bring_forward(self, latest: Timestamp) -> Result<usize> {
        self.run(BRING_FORWARD, [latest.0])
    }

    /// Forgets receivers that have had nothing to do since `before`; how many.
    pub(in crate::store) fn forget_receivers(
        self,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(FORGET_RECEIVERS, [before.0, limit])
    }
}
