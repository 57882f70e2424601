//! The way to the writer, and the connections of readers.

use std::sync::Arc;

use sqlx::SqlitePool;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::store::contract::{Error, Failed, Failure, StoreHealth};
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::durability::space::Space;
use crate::store::sqlite::write::{Pending, Reply, Write, pending};

/// What the writer is sent.
#[derive(Debug)]
pub enum Message {
    Write(Box<dyn Pending>),
    Close,
}

/// A database of SQLite. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pub writer: mpsc::Sender<Message>,
    pub readers: SqlitePool,
    /// Taken by whoever reads one job.
    pub turns: Arc<Semaphore>,
    pub space: Arc<Space>,
    pub health: Arc<Health>,
}

impl Sqlite {
    /// Sends a write and waits for the commit that it was part of. The writer owns the write: a caller that goes away changes
    /// nothing of it (G4).
    pub async fn write<W: Write + 'static>(&self, write: W) -> Result<W::Output, Error> {
        self.ask(write, None).await?.get().await
    }

    /// Sends a write, whose answer may be asked for later. `failed` is called if nothing comes of it.
    pub async fn ask<W: Write + 'static>(
        &self,
        write: W,
        failed: Option<Failed>,
    ) -> Result<Answer<W::Output>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(pending(write, Reply::new(sender, failed))).await?;
        Ok(Answer(receiver))
    }

    /// Sends a write.
    pub async fn send(&self, write: Box<dyn Pending>) -> Result<(), Failure> {
        self.writer.send(Message::Write(write)).await.map_err(|_closed| Failure::Closed)
    }

    /// Sends a write, which is told if there is no writer any more.
    pub async fn send_or_answer(&self, write: Box<dyn Pending>) {
        match self.writer.send(Message::Write(write)).await {
            Err(mpsc::error::SendError(Message::Write(unsent))) => {
                unsent.answer(Some(&Failure::Closed));
            }
            Ok(()) | Err(mpsc::error::SendError(Message::Close)) => {}
        }
    }

    /// Writes what is under way and closes the database.
    pub async fn close(self) {
        // The last connection to close takes the log into the database; only the writer's can.
        self.readers.close().await;
        drop(self.writer.send(Message::Close).await);
    }

    pub fn health(&self) -> StoreHealth {
        StoreHealth {
            has_little_room: self.space.is_low(),
            troubles: self.health.troubles(),
            outcomes_kept: self.health.outcomes_kept(),
            runs_alone: self.health.has_lone_job(),
        }
    }
}

/// What came of a write, once it is committed.
#[derive(Debug)]
pub struct Answer<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Answer<T> {
    /// Waits for it. Nothing is lost if nobody waits to the end; it is given once.
    pub async fn get(&mut self) -> Result<T, Error> {
        (&mut self.0).await.map_err(|_closed| Failure::Closed)?
    }
}
