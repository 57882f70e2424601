//! The way to the writer, and the connections of readers.

use std::sync::Arc;

use sqlx::SqlitePool;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::store::contract::{Error, Failure};
use crate::store::sqlite::durability::health::Health;
use crate::store::sqlite::durability::space::Space;
use crate::store::sqlite::write::{Failed, Pending, Reply, Write, pending};

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
        self.ask(write).await?.get().await
    }

    /// Sends a write, whose answer may be asked for later.
    pub async fn ask<W: Write + 'static>(&self, write: W) -> Result<Answer<W::Output>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(pending(write, Reply::new(sender))).await?;
        Ok(Answer(receiver))
    }

    /// The same, and calls `failed` if nothing comes of it.
    pub async fn ask_or<W: Write + 'static>(
        &self,
        write: W,
        failed: Failed,
    ) -> Result<Answer<W::Output>, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(pending(write, Reply::new(sender).and_failed(failed))).await?;
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

    /// Whether there is so little room on the disk that submissions are refused (G16).
    pub fn has_little_room(&self) -> bool {
        self.space.is_low()
    }

    /// What is wrong though it goes on, each in a sentence.
    pub fn troubles(&self) -> Vec<String> {
        self.health.troubles()
    }

    /// How many outcomes were handed over, could not be recorded, and are tried again.
    pub fn outcomes_kept(&self) -> usize {
        self.health.outcomes_kept()
    }

    /// Whether a job runs with nothing beside it, or is to, because servers died while it ran (G9).
    pub fn runs_alone(&self) -> bool {
        self.health.has_lone_job()
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
