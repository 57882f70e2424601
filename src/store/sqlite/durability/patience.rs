//! How long a start waits for another process that has locked the database: an operator's shell with an open transaction, or a tool
//! that compacts it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::store::contract::DatabasePath;
use crate::store::sqlite::error::OpenError;
use crate::store::sqlite::{connection, schema};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// The database, brought up to date, as soon as no other process has locked it.
pub async fn opened(path: &DatabasePath) -> Result<Connection, OpenError> {
    let mut patience = Patience::with(path);
    let connection = loop {
        let opened = match schema::migrate(path).await {
            Ok(()) => connection::open_writer(path),
            Err(error) => Err(error),
        };
        match opened {
            Ok(connection) => break connection,
            Err(error) => patience.wait(error).await?,
        }
    };
    // Nothing of the above has to write in a database that is up to date.
    while let Err(error) = connection::is_free(&connection, path) {
        patience.wait(error).await?;
    }
    Ok(connection)
}

/// What is left of it.
struct Patience<'a> {
    path: &'a DatabasePath,
    since: Instant,
    is_said: bool,
}

impl<'a> Patience<'a> {
    fn with(path: &'a DatabasePath) -> Self {
        Self { path, since: Instant::now(), is_said: false }
    }

    /// Waits until it is time to try again what has failed so. It fails likewise if that is no lock, and with a word of its own
    /// after too long.
    async fn wait(&mut self, error: OpenError) -> Result<(), OpenError> {
        let within = self.path.patience;
        if !error.is_lock() {
            return Err(error);
        }
        if self.since.elapsed() > within {
            let (seconds, file) = (within.as_secs(), self.path.file.display().to_string());
            return Err(OpenError::Locked { seconds, file });
        }
        if !std::mem::replace(&mut self.is_said, true) {
            let seconds = within.as_secs();
            tracing::warn!(
                "another process has locked the database: the start waits up to {seconds} s until it lets go"
            );
        }
        tokio::time::sleep(AGAIN).await;
        Ok(())
    }
}
