//! Percentiles of latencies, and medians over rounds.

use std::time::Duration;

use serde::Serialize;

/// The microseconds of `duration`, at most what 32 bits hold (71 minutes).
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Latencies in milliseconds, by nearest rank.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// `None` without any latency. Sorts them.
    pub fn of(micros: &mut [u32]) -> Option<Self> {
        micros.sort_unstable();
        let max = *micros.last()?;
        let at = |permille: usize| micros[(micros.len() * permille).div_ceil(1000) - 1];
        let ms = |micros: u32| f64::from(micros) / 1000.0;
        Some(Self { p50_ms: ms(at(500)), p99_ms: ms(at(990)), max_ms: ms(max) })
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without any value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, min, max })
    }
}
