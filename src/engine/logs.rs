//! What running jobs tell of themselves: seen at once, kept at most once a second for each job.

use std::time::Duration;

use crate::domain::{Job, JobId, LogLine, LogPlace, Ordinal};
use crate::runtime::Call;

use super::{Engine, Error};

/// Between two writes of one job's log.
const KEEP_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// The lines of a job's log behind `after`, those of a running attempt included.
    pub async fn log(&self, id: JobId, after: LogPlace) -> Result<Vec<LogLine>, Error> {
        let job = self.get(id).await?;
        self.log_lines(job.ordinal, after).await
    }

    pub(super) async fn log_lines(
        &self,
        job: Ordinal,
        after: LogPlace,
    ) -> Result<Vec<LogLine>, Error> {
        // What is kept between the two looks is seen by both.
        let fresh = self.shared.running.call(job).map(|call| call.log_after(after));
        let mut lines = self.shared.store.log(job, after).await?;
        let last = lines.last().map_or(after, |line| line.place);
        lines.extend(fresh.into_iter().flatten().filter(|line| line.place > last));
        Ok(lines)
    }

    /// Keeps what a running attempt logs, until the attempt ends; what is left then is kept with its end.
    pub(super) async fn keep_log(&self, job: &Job, call: &Call) {
        let mut changes = call.changes();
        loop {
            changes.changed().await;
            let Some(last) = call.log_after(LogPlace::default()).last().map(|it| it.place.number)
            else {
                continue;
            };
            tokio::time::sleep(KEEP_EVERY).await;
            let lines = call.log_after(LogPlace::default());
            let last = lines.last().map_or(last, |line| line.place.number);
            match self.shared.store.append_log(job.ordinal, lines).await {
                Ok(()) => call.kept_log(last),
                // It stays in memory, as much as may, and is tried again with what comes next.
                Err(error) if error.passes() => {}
                Err(error) => tracing::warn!(job.id = %job.spec.id, %error, "a log was not kept"),
            }
        }
    }
}
