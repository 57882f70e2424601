//! What is sent, and what comes of it. Turns of receivers follow by the triggers of migration 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::params;

use crate::domain::callback::DeliveryAttempt;
use crate::domain::{DeliveryState, Ordinal, Timestamp};
use crate::store::contract::{DeliveryReport, Error};
use crate::store::sqlite::callbacks::find;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::jobs::remove;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{IfRefused, ROW_BYTES, Ran, Write};

/// A body that is too large is not sent.
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
const SET_HEALTH: &str =
    "update receivers set pace = ?2, used_at = ?3, turn_at = max(turn_at, ?3) where host = ?1";

#[derive(Debug)]
struct BeginDeliveries {
    bodies: Arc<BTreeMap<Ordinal, String>>,
    again: Vec<Ordinal>,
}

impl Write for BeginDeliveries {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        let epoch = txn.counters.epoch;
        for (callback, body) in self.bodies.iter() {
            keep_delivery_body(txn.sql, *callback, body, epoch)?;
        }
        for callback in &self.again {
            begin_delivery(txn.sql, *callback, epoch)?;
        }
        Ok(Ok(()))
    }

    fn bytes(&self) -> usize {
        let bytes: usize = self.bodies.values().map(|body| ROW_BYTES + body.len()).sum();
        bytes + ROW_BYTES * self.again.len()
    }
}

/// A job that has expired meanwhile goes with the last delivery that was open.
impl Write for DeliveryReport {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        txn.now = txn.now.max(self.now);
        record_delivery(txn.sql, self, txn.now)?;
        // A first attempt may be what a later callback of the same job waits for.
        txn.makes_due = true;
        if self.state != DeliveryState::Pending {
            let job = find::job_of(txn.sql, self.callback)?;
            job.map_or(Ok(()), |job| remove::expire_if_over(txn, job))?;
        }
        Ok(Ok(()))
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::RetryIfItPasses
    }
}

impl Sqlite {
    pub async fn begin_deliveries(
        &self,
        bodies: Arc<BTreeMap<Ordinal, String>>,
        again: Vec<Ordinal>,
    ) -> Result<(), Error> {
        self.write(BeginDeliveries { bodies, again }).await
    }

    pub async fn record_delivery(&self, report: DeliveryReport) -> Result<(), Error> {
        self.write(report).await
    }
}

/// Keeps the body of a delivery, which is on its way from here on.
pub fn keep_delivery_body(
    sql: Statements<'_>,
    callback: Ordinal,
    body: &str,
    epoch: i64,
) -> rusqlite::Result<()> {
    sql.run(KEEP_BODY, params![callback.0, body, epoch]).map(drop)
}

/// A delivery that has a body is on its way from here on.
pub fn begin_delivery(sql: Statements<'_>, callback: Ordinal, epoch: i64) -> rusqlite::Result<()> {
    sql.run(BEGIN, [callback.0, epoch]).map(drop)
}

/// Keeps one POST and what becomes of its delivery.
pub fn record_delivery(
    sql: Statements<'_>,
    report: &DeliveryReport,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let number = i64::try_from(report.number).unwrap_or(i64::MAX);
    let next_at = report.next_at.map(|at| at.0);
    let next = params![report.callback.0, number, report.state.as_str(), next_at];
    // The callback may have been taken away while the POST was on its way; then nobody asks what came of it.
    if sql.run(SET_DELIVERY, next)? == 1 {
        insert_attempt(sql, report.callback, report.number, &report.attempt)?;
    }
    let health = params![report.host, report.health.as_str(), now.0];
    sql.run(SET_HEALTH, health).map(drop)
}

pub fn insert_attempt(
    sql: Statements<'_>,
    callback: Ordinal,
    number: usize,
    attempt: &DeliveryAttempt,
) -> rusqlite::Result<()> {
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
    sql.run(INSERT_ATTEMPT, made).map(drop)
}
