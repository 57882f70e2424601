//! What a run leaves: a table beside what is aimed for, and the raw rounds as JSON.

use serde::Serialize;

use crate::common::origin::Origin;
use crate::common::stats::{Latency, Spread};
use crate::{Figures, Peer, Round};

/// How many times as many jobs a second are aimed for, beside a peer that keeps what it is told.
const AIMS: [(&str, f64); 5] = [
    ("bullmq_second", 10.0),
    ("bullmq_always", 20.0),
    ("celery", 40.0),
    ("dask", 50.0),
    ("huey_fsync", 25.0),
];

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of 4 KiB and fdatasync, before the first round.
    pub sync: Latency,
    pub peers: Vec<Peer>,
    pub rounds: Vec<Round>,
}

impl Report {
    pub fn print(&self) {
        self.origin.print(&format!(
            "{} rounds; all servers and clients on the same cores",
            self.rounds.len()
        ));
        println!("append of 4 KiB and fdatasync: p50 {:.3} ms", self.sync.p50_ms);
        println!(
            "\n{:16} {:>26} {:>30}  {:26} {:26} aim",
            "",
            "one at a time, p50, ms",
            "many at once, jobs/s",
            "  a request a job / there",
            "in a map / there"
        );
        let ours = |value: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(value));
        line("futurity", ours(|round| round.ours.one_ms), ours(|round| round.ours.per_second));
        println!();
        line("  in a map", None, ours(|round| round.ours.map_per_second));
        println!();
        line("  in a batch", None, ours(|round| round.ours.batch_per_second));
        println!();
        for (place, peer) in self.peers.iter().enumerate() {
            self.print_peer(place, peer);
        }
    }

    fn print_peer(&self, place: usize, peer: &Peer) {
        let Peer { name, version, skipped } = peer;
        if let Some(why) = skipped {
            println!("{name:16} SKIPPED: {why}");
            return;
        }
        let rounds = || {
            self.rounds.iter().filter_map(|round| Some((round, round.peers.get(place)?.as_ref()?)))
        };
        let theirs = |value: fn(&Figures) -> f64| Spread::of(rounds().map(|(_, it)| value(it)));
        line(name, theirs(|it| it.one_ms), theirs(|it| it.per_second));
        let over = |ours: fn(&Round) -> f64| {
            shown(Spread::of(rounds().map(|(round, it)| ours(round) / it.per_second)))
        };
        let (single, mapped) =
            (over(|round| round.ours.per_second), over(|round| round.ours.map_per_second));
        let aim = AIMS.iter().find(|(name, _)| *name == peer.name);
        let aim = aim.map_or_else(String::new, |(_, aim)| format!("{aim:.0}"));
        let version = version.as_deref().unwrap_or_default();
        println!("  {single:26} {mapped:26} {aim:4} {version}");
    }
}

fn line(name: &str, one_ms: Option<Spread>, per_second: Option<Spread>) {
    print!("{name:16} {:>26} {:>30}", shown(one_ms), shown(per_second));
}

/// The median, with least and most.
fn shown(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |Spread { median, min, max }| {
        let digits = if median < 100.0 { 2 } else { 0 };
        format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
    })
}
