//! Checkpoints: what is in the log is copied into the database, off the writer's path.

use std::sync::Arc;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::store::change::{Change, Reply};

/// Groups between two checkpoints: some 4 MiB of log at full load.
pub(in crate::store) const GROUPS_BETWEEN: u32 = 64;
/// While writes go on without a pause, the log never gets empty by itself. From this many pages on
/// (16 MiB) the writer stops for the moment that the rest takes.
const PAGES_MAX: i64 = 4_096;

/// Copies what it can without stopping readers or the writer: pages of the log, pages copied.
const PASSIVE: &str = "pragma wal_checkpoint(passive)";

/// Checkpoints whenever `wanted` says so, until the writer is gone.
pub(in crate::store) async fn run(
    mut connection: SqliteConnection,
    wanted: Arc<Notify>,
    writer: mpsc::WeakSender<Change>,
    closing: CancellationToken,
) {
    loop {
        tokio::select! {
            () = wanted.notified() => {}
            () = closing.cancelled() => break,
        }
        let Some(writer) = writer.upgrade() else { break };
        match passive(&mut connection).await {
            Ok((pages, copied)) if pages > PAGES_MAX && copied > 0 => {
                let (sender, finished) = oneshot::channel();
                drop(writer.send(Change::Checkpoint { reply: Reply::new(sender) }).await);
                drop(writer);
                // The writer says how it went in its own log; here we only do not ask twice at once.
                drop(finished.await);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the log grows until one succeeds")
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the checkpointer's connection did not close cleanly");
    }
}

/// One passive checkpoint: pages in the log, and pages of it that are in the database now.
pub(in crate::store) async fn passive(
    connection: &mut SqliteConnection,
) -> Result<(i64, i64), sqlx::Error> {
    let (_busy, pages, copied): (i64, i64, i64) =
        sqlx::query_as(PASSIVE).fetch_one(connection).await?;
    Ok((pages, copied))
}
