//! What a run leaves: tables on standard output and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::followers::Followed;
use crate::map::Mapped;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before all else.
    pub sync: Latency,
    /// The rounds of each length.
    pub maps: Vec<Vec<Mapped>>,
    pub slow: Mapped,
    pub followed: Vec<Followed>,
}

impl Report {
    pub fn print(&self) {
        self.origin.print("1 connection for each map and each reader");
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms", self.sync.p50_ms);
        println!(
            "\n{:24} {:>10} {:>10} {:>12} {:>10}",
            "streaming map", "lines", "lines/s", "before, MiB", "peak, MiB"
        );
        let maps = self.maps.iter().map(|it| ("as fast as it goes", it.as_slice()));
        for (what, rounds) in
            maps.chain([("1,000 lines/s are read", std::slice::from_ref(&self.slow))])
        {
            print_map(what, rounds);
        }
        println!(
            "\n{:>8} {:>9} {:>9} {:>9} {:>7} {:>10} {:>9} {:>10} {:>7} {:>9} {:>6}",
            "readers",
            "jobs/s",
            "p50, ms",
            "p99, ms",
            "cores",
            "after, MiB",
            "peak, MiB",
            "sent, MiB",
            "cuts",
            "last, s",
            "late"
        );
        for it in &self.followed {
            println!(
                "{:>8} {:>9.0} {:>9.3} {:>9.3} {:>7.2} {:>10.1} {:>9.1} {:>10.0} {:>7} {:>9.3} {:>6}",
                it.readers,
                it.jobs_per_second,
                it.round_trip.p50_ms,
                it.round_trip.p99_ms,
                it.cores,
                it.resident_mib,
                it.peak_mib,
                it.sent_mib,
                it.cuts,
                it.slowest_seconds,
                it.late
            );
        }
    }
}

/// Medians over the rounds.
fn print_map(what: &str, rounds: &[Mapped]) {
    let over = |of: fn(&Mapped) -> f64| Spread::of(rounds.iter().map(of)).map(|it| it.median);
    let rate = over(|it| it.lines_per_second());
    let (before, peak) = (over(|it| it.before_mib), over(|it| it.peak_mib));
    if let (Some(first), Some(rate), Some(before), Some(peak)) =
        (rounds.first(), rate, before, peak)
    {
        println!("{what:24} {:>10} {rate:>10.0} {before:>12.1} {peak:>10.1}", first.lines);
    }
}
