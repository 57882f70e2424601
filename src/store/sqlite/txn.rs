//! One transaction: the connection, the counters, the slots, and what it will have done once it is committed.

use std::collections::BTreeMap;

use crate::domain::{Counts, JobId, Ordinal, Timestamp};
use crate::store::codec::feed_entry;
use crate::store::contract::{Claimed, Ended, Event, Failure};
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::hot::new_row::NewRow;
use crate::store::sqlite::hot::result_row::ResultRow;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::unwritten::{BatchEnds, Feed};

/// A transaction that is being written.
#[derive(Debug)]
pub struct Txn<'a> {
    pub sql: Statements<'a>,
    pub slots: &'a mut Slots,
    pub counters: Counters,
    /// The latest moment that a write has brought.
    pub now: Timestamp,
    pub events: Vec<Event>,
    pub claimed: Vec<Claimed>,
    /// Jobs that waited and were cancelled many at a time.
    pub cancelled: Vec<Ended>,
    /// Jobs whose time has come.
    pub startable: Vec<JobId>,
    pub makes_due: bool,
    /// By how much the counts of batches have moved.
    pub tallies: BTreeMap<Ordinal, Counts>,
    /// Jobs of batches that have ended and are not noted yet.
    pub batch_ends: BTreeMap<Ordinal, BatchEnds>,
    pub feed: Feed,
    /// Jobs that have come and are not inserted yet.
    pub new_rows: Vec<NewRow>,
    /// Results of jobs that are not inserted yet.
    pub results: Vec<ResultRow>,
    /// The payload that holds the large value of the write that runs, as long as nothing owns it.
    pub written_ahead: Option<i64>,
    /// Whether the group has one member only.
    pub is_alone: bool,
    /// Rows that may still be looked at to cancel them.
    pub portion_left: usize,
    /// Rows that the connection had changed before.
    rows_before: u64,
}

/// What a committed transaction leaves.
#[derive(Debug)]
pub struct Done {
    pub counters: Counters,
    pub now: Timestamp,
    pub events: Vec<Event>,
}

impl<'a> Txn<'a> {
    /// Begins a transaction. Dropped without [`Txn::commit`], it must be rolled back.
    pub fn begin(
        sql: Statements<'a>,
        slots: &'a mut Slots,
        counters: Counters,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        sql.begin()?;
        Ok(Self {
            sql,
            slots,
            counters,
            now,
            events: Vec::new(),
            claimed: Vec::new(),
            cancelled: Vec::new(),
            startable: Vec::new(),
            makes_due: false,
            tallies: BTreeMap::new(),
            batch_ends: BTreeMap::new(),
            feed: Feed::default(),
            new_rows: Vec::new(),
            results: Vec::new(),
            written_ahead: None,
            is_alone: false,
            portion_left: 0,
            rows_before: sql.connection().total_changes(),
        })
    }

    /// The place of a job's change in the order of all changes.
    pub fn change_of(&mut self, job: Ordinal) -> i64 {
        let seq = self.counters.next_seq();
        if self.feed.entries.is_empty() {
            self.feed.first_seq = seq;
        }
        feed_entry::write(&mut self.feed.entries, job.0 - self.feed.last);
        self.feed.last = job.0;
        seq
    }

    /// Notes that a job is there no more.
    pub fn is_gone(&mut self, id: JobId) {
        self.change_of(Ordinal(0));
        self.feed.entries.extend_from_slice(id.0.as_bytes());
    }

    /// Whether it has changed any row.
    pub fn has_changed_rows(&self) -> bool {
        self.sql.connection().total_changes() != self.rows_before
    }

    /// Makes it durable; gives what it did. `kept` is how far the counters are reserved.
    pub fn commit(mut self, kept: &mut Counters) -> Result<Done, Failure> {
        let reserved = self.counters.beyond(*kept);
        if let Some(reserved) = reserved {
            self.sql.keep(reserved)?;
        }
        self.sql.commit()?;
        *kept = reserved.unwrap_or(*kept);
        self.slots.commit();
        if !self.claimed.is_empty() {
            self.events.push(Event::Claimed(self.claimed));
        }
        if !self.startable.is_empty() {
            self.events.push(Event::MayStart(self.startable));
        }
        self.events = in_order(self.events, self.cancelled);
        self.events.extend(self.slots.take_drained().into_iter().map(Event::Drained));
        if self.makes_due {
            self.events.push(Event::DeliveriesDue);
        }
        Ok(Done { counters: self.counters, now: self.now, events: self.events })
    }
}

/// The events, and among them those that ended many at a time: each end stands behind all that came before it. Whoever goes on behind
/// an end that it was told of has missed none.
fn in_order(events: Vec<Event>, mut many: Vec<Ended>) -> Vec<Event> {
    if many.is_empty() {
        return events;
    }
    many.sort_unstable_by_key(|ended| ended.seq);
    let mut many = many.into_iter().peekable();
    let mut ordered = Vec::with_capacity(events.len() + 1);
    for event in events {
        let seq = match &event {
            Event::Changed(job) => job.finished_seq,
            Event::Cancelled(ended) => Some(ended.seq),
            _ => None,
        };
        if let Some(seq) = seq {
            let before: Vec<Ended> =
                std::iter::from_fn(|| many.next_if(|ended| ended.seq < seq)).collect();
            if !before.is_empty() {
                ordered.push(Event::CancelledMany(before));
            }
        }
        ordered.push(event);
    }
    if many.peek().is_some() {
        ordered.push(Event::CancelledMany(many.collect()));
    }
    ordered
}
