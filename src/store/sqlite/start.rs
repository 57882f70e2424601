//! The start: the database is opened, made or brought up to date, what the last server left is recovered, and the writer begins.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc};

use crate::domain::Timestamp;
use crate::store::contract::{Config, Opened};
use crate::store::sqlite::callbacks::deaths;
use crate::store::sqlite::commits::Commits;
use crate::store::sqlite::durability::checkpoint::Checkpointer;
use crate::store::sqlite::durability::ended::Note;
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::durability::high_water::HighWaterWriter;
use crate::store::sqlite::durability::space::Space;
use crate::store::sqlite::durability::{checkpoint, ended, high_water, patience, recovery};
use crate::store::sqlite::error::OpenError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::writer::Writer;
use crate::store::sqlite::writer::later::Later;
use crate::store::sqlite::{connection, writer};

pub async fn open(config: Config, now: Timestamp) -> Result<Opened<Sqlite, Commits>, OpenError> {
    let database = config.path.file.clone();
    let space = Arc::new(Space::of(&database));
    let ended = ended::epoch(&database);
    let mut connection = connected(&config).await?;
    let readers = connection::open_readers(&config.path).await?;
    let mut slots = Slots::new(&config);
    let mut found = recovery::recover(&mut connection, &mut slots, &readers, (now, ended)).await?;
    // A schedule is a matter of time that passes, and the last server's clock may have been ahead of ours.
    let latest = now.plus_millis(config.delivery_wait_ms_max);
    found.commit(&connection, (&mut slots, now), |txn| deaths::bring_forward(txn, latest))?;
    recovery::load_queues(&connection, &mut slots)?;
    recovery::load_waiting(&connection, &config, &mut slots, found.has_culprit)?;
    let suspects = slots.suspects();
    let suspect_deliveries = std::mem::take(&mut found.suspect_deliveries);
    let health = Arc::new(Health::default());
    checkpoint::count_pages(&connection)?;
    let high_water = HighWaterWriter::start(&database, found.counters, Arc::clone(&health))?;
    let checkpointer =
        Checkpointer::start(connection::open_checkpointer(&config.path)?, Arc::clone(&health))?;
    let (sender, waiting) = mpsc::channel(writer::WAITING_MAX);
    let (committed, commits) = Commits::channel();
    let writer = Writer {
        slots,
        counters: found.counters,
        kept: found.kept,
        now,
        waiting,
        staged: VecDeque::new(),
        cancels_later: false,
        abandoned: Vec::new(),
        later: Later::new(Arc::clone(&health)),
        locked_since: None,
        busy_timeout: config.path.busy_timeout,
        is_told_to_end: false,
        committed,
        checkpointer,
        high_water,
        space,
        health: Arc::clone(&health),
        note: Note::start(&database)?,
    };
    health.runs_alone(writer.slots.runs_alone());
    let space = Arc::clone(&writer.space);
    let closed = writer::start(writer, connection)?;
    let turns = Arc::new(Semaphore::new(connection::READERS_MAX as usize));
    let store = Sqlite { writer: sender, readers, turns, space, health };
    Ok(Opened {
        store,
        commits,
        closed,
        recovered: found.recovered,
        failed: found.failed,
        suspects,
        suspect_deliveries,
        cancelling: found.cancelling,
    })
}

/// The database, brought up to date, once it is known that nothing is lost, or that this is accepted.
async fn connected(config: &Config) -> Result<Connection, OpenError> {
    let database = &config.path.file;
    let loss = high_water::loss(database)?;
    if let Some(lost) = loss.as_ref().filter(|_| !config.accept_data_loss) {
        return Err(OpenError::Lost(lost.clone()));
    }
    let connection = patience::opened(&config.path).await?;
    if let Some(lost) = loss {
        tracing::warn!(lost, "going on without what is lost, as asked");
        connection::check_whole(&connection)?;
        high_water::accept(&connection, database)?;
    }
    Ok(connection)
}
