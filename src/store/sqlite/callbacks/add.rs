//! A callback is added to a job, or to a batch.

use rusqlite::params;

use crate::domain::{NewCallback, Ordinal};
use crate::store::contract::{DeliverySubject, Error, Refusal};
use crate::store::sqlite::batches::add_callback;
use crate::store::sqlite::callbacks::{due, find};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::slots::Running;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Ran, Write};

/// A callback reaches only a job that is there.
const INSERT_CALLBACK: &str = "insert into callbacks (id, job, url, host, sealed, created_at)
select ?2, j.ordinal, ?3, ?4, ?5, ?6 from calls as j where j.ordinal = ?1";

const HAS_ALL_CALLBACKS: &str =
    "select count(*) >= ?2 from (select 1 from callbacks where job = ?1 limit ?2)";

#[derive(Debug)]
struct AddCallback {
    subject: DeliverySubject,
    callback: NewCallback,
}

impl Write for AddCallback {
    type Output = ();

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<()> {
        match self.subject {
            DeliverySubject::Job(job) => add_to_job(txn, job, &self.callback),
            DeliverySubject::Batch(batch, when) => {
                add_callback::add_to_batch(txn, (batch, when), &self.callback)
            }
        }
    }
}

impl Sqlite {
    pub async fn add_callback(
        &self,
        subject: DeliverySubject,
        callback: NewCallback,
    ) -> Result<(), Error> {
        self.write(AddCallback { subject, callback }).await
    }
}

/// Adds a callback to a job. If that is done, its delivery is due.
pub fn add_to_job(txn: &mut Txn<'_>, job: Ordinal, callback: &NewCallback) -> Ran<()> {
    if has_all_callbacks(txn.sql, job)? {
        return Ok(Err(Refusal::TooManyCallbacks(NewCallback::COUNT_MAX)));
    }
    insert_callback(txn.sql, job, callback)?;
    due::make_due_of(txn, job, callback.due_at)?;
    if let Some(running) = txn.slots.running(job) {
        txn.slots.set_running(job, Some(Running { may_have_callbacks: true, ..running }));
    }
    Ok(Ok(()))
}

pub fn insert_callback(
    sql: Statements<'_>,
    job: Ordinal,
    it: &NewCallback,
) -> rusqlite::Result<()> {
    let id = it.id.0.as_bytes();
    let values = params![job.0, id, it.url, it.host, it.sealed, it.created_at.0];
    sql.run(INSERT_CALLBACK, values).map(drop)
}

/// Whether a job has as many callbacks as it may have.
pub fn has_all_callbacks(sql: Statements<'_>, job: Ordinal) -> rusqlite::Result<bool> {
    sql.prepared(HAS_ALL_CALLBACKS)?
        .query_row(params![job.0, find::CALLBACKS_MAX], |row| row.get(0))
}
