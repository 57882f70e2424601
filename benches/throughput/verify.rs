//! Checks over many answers: ids are unique, and what was accepted gets done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::time::timeout;
use uuid::Uuid;

use crate::cell::Made;
use crate::scenario::{Client, Scenario};
use crate::site::Site;

/// Jobs read back after each submit cell.
const SAMPLE: usize = 200;
/// For all jobs of a submit cell to be done.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// The ids of one round.
#[derive(Debug, Default)]
pub struct Seen(Vec<Uuid>);

impl Seen {
    /// An error if an id is there twice or has been seen before in this round.
    pub fn admit(&mut self, made: &[Made]) -> Result<()> {
        self.0.extend(made.iter().map(|made| made.job));
        self.0.sort();
        match self.0.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => bail!("the id {} was given to two jobs", pair[0]),
            None => Ok(()),
        }
    }
}

/// Waits until the last of `made` is done, then reads a sample of all of them: each must have
/// succeeded, with its own result. How long the server needed for what it had only accepted.
pub async fn drain(site: &Site, mut made: Vec<Made>) -> Result<Duration> {
    made.sort_by_key(|made| made.number);
    let last = *made.last().context("no job was made")?;
    let begun = Instant::now();
    let sampled = async {
        let mut client = Client::connect(Scenario::LongPoll, site).await?;
        client.poll(last.job, last.number).await?;
        let drained = begun.elapsed();
        for made in sample(&made) {
            client.poll(made.job, made.number).await?;
        }
        Ok(drained)
    };
    timeout(DRAIN_LIMIT, sampled).await.context("accepted jobs are not done in time")?
}

/// Evenly spread over all, with the last.
fn sample(made: &[Made]) -> Vec<Made> {
    let count = made.len().min(SAMPLE);
    (1..=count).map(|nth| made[nth * made.len() / count - 1]).collect()
}
