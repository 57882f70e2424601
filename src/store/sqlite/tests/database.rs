//! SQLite as the conformance suite needs it: the SQL behind what it counts, refuses and damages.

use std::time::Duration;

use rusqlite::{Connection, Params, params};
use tempfile::TempDir;

use crate::domain::{Ordinal, State};
use crate::store::DatabasePath;
use crate::store::conformance::backend::{Damage, Figure, Refused};

/// A file of its own.
#[derive(Debug)]
pub struct Database {
    dir: TempDir,
}

impl Database {
    pub fn fresh() -> Self {
        Self { dir: TempDir::new().expect("a directory") }
    }

    pub fn path(&self) -> DatabasePath {
        self.dir.path().join("futurity.db").into()
    }

    /// The files as they are while a server has them open.
    pub fn copied(&self) -> Self {
        let left = Self::fresh();
        // The log first: a checkpoint that runs meanwhile takes pages from it into the database, never back.
        for name in ["futurity.db-wal", "futurity.db"] {
            std::fs::copy(self.dir.path().join(name), left.dir.path().join(name)).expect("a copy");
        }
        left
    }

    /// A connection beside the store's own.
    pub fn aside(&self) -> Connection {
        let connection = Connection::open(self.path().file).expect("a connection");
        connection.busy_timeout(Duration::from_secs(30)).expect("a time-out");
        connection
    }

    /// Changes the database behind the writer's back.
    pub fn execute(&self, sql: &str) {
        self.aside().execute_batch(sql).expect("it is done");
    }

    /// One number of the database.
    pub fn select(&self, query: &str, values: impl Params) -> i64 {
        self.aside().query_row(query, values, |row| row.get(0)).expect("a number")
    }

    pub fn number(&self, figure: Figure) -> i64 {
        let query = match figure {
            Figure::JobsIn(state) => {
                let query = "select count(*) from jobs where state = ?";
                return self.select(query, [state.as_str()]);
            }
            Figure::JobsNotIn(state) => {
                let query = "select count(*) from jobs where state != ?";
                return self.select(query, [state.as_str()]);
            }
            Figure::Jobs => "select count(*) from jobs",
            Figure::JobsStarted => "select count(*) from jobs where attempt > 0",
            Figure::JobsScheduled => "select count(*) from jobs where run_at is not null",
            Figure::JobsOfOtherServers => {
                "select count(*) from jobs, counters as c where state = 'running' and jobs.epoch <> c.epoch"
            }
            Figure::JobsBeyondCounters => {
                "select count(*) from jobs, counters as c where jobs.ordinal > c.ordinal or jobs.seq > c.seq"
            }
            Figure::Batches => "select count(*) from batches",
            Figure::RowsOfBatches => {
                "select (select count(*) from jobs) + (select count(*) from batches)
                + (select count(*) from batch_runs) + (select count(*) from batch_ends) + (select count(*) from callbacks)
                + (select count(*) from deliveries) + (select count(*) from delivery_attempts)"
            }
            Figure::Callbacks => "select count(*) from callbacks",
            Figure::Deliveries => "select count(*) from deliveries",
            Figure::DeliveriesBegun => "select count(*) from deliveries where begun is not null",
            Figure::DeliveryAttempts => "select count(*) from delivery_attempts",
            Figure::FailedAttempts => "select count(*) from attempts",
            Figure::IdempotencyKeys => "select count(*) from idempotency_keys",
            Figure::Tombstones => "select count(*) from tombstones",
            Figure::Receivers => "select count(*) from receivers",
            Figure::LogPieces => "select count(*) from log_pieces",
            Figure::Values => "select count(distinct payload) from chunks",
            Figure::ValuePieces => "select count(*) from chunks",
            Figure::UnownedValues => "select count(*) from unlinked_payloads",
            Figure::Epoch => "select epoch from counters",
            Figure::LastOrdinal => "select max(ordinal) from jobs",
            Figure::LastSeq => "select max(seq) from jobs",
        };
        self.select(query, ())
    }

    pub fn changed_after(&self, after: i64) -> Vec<(i64, i64, String)> {
        let connection = self.aside();
        let select = "select seq, ordinal, state from jobs where seq > ? order by seq";
        let mut found = connection.prepare(select).expect("a statement");
        let rows = found.query_map([after], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.expect("they read").map(|row| row.expect("a row")).collect()
    }

    pub fn states_of(&self, batch: Ordinal) -> Vec<State> {
        let connection = self.aside();
        let select = "select state from jobs where batch = ?";
        let mut found = connection.prepare(select).expect("a statement");
        let states = found.query_map([batch.0], |row| row.get::<_, String>(0)).expect("they read");
        states.map(|it| State::parse(&it.expect("a row")).expect("a state")).collect()
    }

    pub fn in_order_of_ends(&self) -> Vec<i64> {
        let connection = self.aside();
        let select =
            "select ordinal from jobs where finished_seq is not null order by finished_seq";
        let mut found = connection.prepare(select).expect("a statement");
        let ordinals = found.query_map((), |row| row.get(0)).expect("they read");
        ordinals.map(|row| row.expect("a row")).collect()
    }

    pub fn refuse(&self, what: Refused) {
        let when = match what {
            Refused::NewJob => "insert on calls".to_owned(),
            Refused::NewJobAt(job) => format!("insert on calls when new.ordinal = {}", job.0),
            Refused::End => "insert on ends".to_owned(),
            Refused::TimerOf(job) => {
                format!("update of run_at on calls when new.ordinal = {}", job.0)
            }
            Refused::CancelOf(job) => {
                format!("update on calls when old.ordinal = {} and new.state = 'done'", job.0)
            }
        };
        self.execute(&format!(
            "create trigger refused before {when} begin select raise(abort, 'no'); end;"
        ));
    }

    pub fn allow(&self) {
        self.execute("drop trigger refused");
    }

    pub fn damage(&self, what: Damage<'_>) {
        let connection = self.aside();
        let does = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            connection.execute(sql, values).expect("it is done");
        };
        match what {
            Damage::FeedCutTo(seq) => does("delete from changes where first_seq <= ?", &[&seq]),
            Damage::FeedCut => does(
                "delete from changes where first_seq < (select max(first_seq) from changes)",
                &[],
            ),
            Damage::NoFeed(seq) => {
                does("delete from changes", &[]);
                does("update counters set seq_floor = ?", &[&seq]);
            }
            Damage::Version(job, version) => {
                does("update calls set version = ? where ordinal = ?", &[&version, &job.0]);
            }
            Damage::Seq(job, seq) => {
                does("update calls set seq = ? where ordinal = ?", &[&seq, &job.0]);
            }
            Damage::NoQueues => does("delete from queues", &[]),
            Damage::Queue(name) => does(
                "insert into queues (name, max_workers, max_pending, paused) values (?, 1, 5, 1)",
                &[&name],
            ),
            Damage::ShutDown(seq) => {
                does("insert into queues values ('default', 5, 1000, 0, 1, ?, null)", &[&seq]);
            }
            Damage::FailedAttempt(job) => {
                does("insert into attempts values (?, 1, 0, 0, '{}')", &[&job.0]);
            }
            Damage::Key(job, at) => {
                let made = "insert into idempotency_keys values ('', hex(?1), x'00', ?1, ?2)";
                does(made, &[&job.0.as_bytes(), &at.0]);
            }
            Damage::Gone(job, leaves_a_trace) => {
                does("delete from calls where id = ?", &[&job.0.as_bytes()]);
                if leaves_a_trace {
                    let kept = "insert into tombstones (id, gone_at) values (?, 1)";
                    does(kept, &[&job.0.as_bytes()]);
                }
            }
            Damage::UnownedValue => {
                does("insert into unlinked_payloads (payload) values (999)", &[]);
                let piece = "insert into chunks (payload, number, bytes) values (999, 0, ?)";
                connection.execute(piece, params![[0_u8]]).expect("it is done");
            }
        }
    }
}
