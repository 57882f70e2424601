//! What was sent, and what comes of it. Turns of receivers follow by the triggers of migration 6.

use rusqlite::{Result, params};

use crate::domain::{Ordinal, Timestamp};
use crate::store::change::DeliveryReport;

use super::Statements;

const KEEP_BODY: &str = "update deliveries set body = ?2 where callback = ?1 and body is null";
const INSERT_ATTEMPT: &str =
    "insert into delivery_attempts (callback, number, at, status, error, body, duration_ms)
values (?, ?, ?, ?, ?, ?, ?)
on conflict (callback, number) do nothing";
const SET_DELIVERY: &str = "update deliveries set attempts = ?2, state = ?3, next_at = ?4
where callback = ?1 and state = 'pending' and attempts = ?2 - 1";
/// A receiver that has more to get stands behind those that have waited while it was served.
const SET_PACE: &str =
    "update receivers set pace = ?2, used_at = ?3, turn_at = max(turn_at, ?3) where host = ?1";
const BRING_FORWARD: &str =
    "update deliveries set next_at = ?1 where state = 'pending' and next_at > ?1";
const FORGET_RECEIVERS: &str = "delete from receivers where host in
    (select host from receivers where turn_at is null and used_at < ?1 order by used_at limit ?2)";

impl Statements<'_> {
    pub(in crate::store) fn keep_delivery_body(self, callback: Ordinal, body: &str) -> Result<()> {
        self.run(KEEP_BODY, params![callback.0, body]).map(drop)
    }

    /// Keeps one POST and what becomes of its delivery.
    pub(in crate::store) fn record_delivery(
        self,
        report: &DeliveryReport,
        now: Timestamp,
    ) -> Result<()> {
        let attempt = &report.attempt;
        let number = i64::try_from(report.number).unwrap_or(i64::MAX);
        let made = params![
            report.callback.0,
            number,
            attempt.at.0,
            attempt.status,
            attempt.error,
            attempt.body,
            attempt.duration_ms
        ];
        let next_at = report.next_at.map(|at| at.0);
        let next = params![report.callback.0, number, report.state.as_str(), next_at];
        // The callback may have been taken away while the POST was on its way; then nobody asks what came of it.
        if self.run(SET_DELIVERY, next)? == 1 {
            self.run(INSERT_ATTEMPT, made)?;
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
