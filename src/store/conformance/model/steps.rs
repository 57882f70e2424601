//! What may be asked of the store, and what may happen to it.

use proptest::prelude::*;
use proptest::sample::Index;

/// One thing that is asked of the store, or that happens to it. An [`Index`] picks among the jobs that there are.
#[derive(Clone, Debug)]
pub enum Step {
    Submit(Asked),
    Settle {
        of: Index,
        end: End,
    },
    /// An outcome of an attempt that is over, or that never was.
    Superseded {
        of: Index,
        attempt: u32,
    },
    /// By one who read the job now, or when it was submitted.
    Cancel {
        of: Index,
        terminate: bool,
        stale: bool,
    },
    /// Code that was given up returns: its slot is free.
    Release,
    /// A queue is paused or not; that outlives its server.
    Pause {
        queue: usize,
        paused: bool,
    },
    /// So do its workers.
    Workers {
        queue: usize,
        workers: usize,
    },
    /// Both clocks go on, by so many milliseconds.
    Pass(i64),
    /// Somebody sets the wall clock.
    Jump(i64),
    /// The cleaner passes through all that is over.
    Clean,
    /// SIGTERM: nothing is claimed, what runs is put back, the store is closed.
    Stop,
    /// The store is dropped, so that its writer ends by itself.
    Vanish,
    /// kill -9: the next server finds the files as they are.
    Crash,
}

#[derive(Clone, Copy, Debug)]
pub enum End {
    Returned,
    Raised,
    /// With an error that says that another attempt is useless.
    RaisedForGood,
    Cancelled,
    /// Cancelled, and the code still holds its slot.
    GivenUp,
    Stopped,
}

/// Where a job waits and where it runs, by number.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    pub queue: usize,
    pub pool: usize,
}

/// What a job asks for. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub priority: i64,
    pub lane: Lane,
    /// To run at most once.
    pub once: bool,
    pub start: Start,
    pub limits: Limits,
}

/// When a job may start: so long after its submission, by the server's clock or by the wall's.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    AtOnce,
    After(i64),
    At(i64),
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub start: Option<i64>,
    pub total: Option<i64>,
    pub max_attempts: u32,
    pub retention: Option<i64>,
}

pub fn a_step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        3 => Just(End::Returned),
        3 => Just(End::Raised),
        1 => Just(End::RaisedForGood),
        1 => Just(End::Cancelled),
        1 => Just(End::GivenUp),
        2 => Just(End::Stopped),
    ];
    prop_oneof![
        12 => asked().prop_map(Step::Submit),
        10 => (any::<Index>(), end).prop_map(|(of, end)| Step::Settle { of, end }),
        2 => (any::<Index>(), 0..3_u32).prop_map(|(of, attempt)| Step::Superseded { of, attempt }),
        6 => (any::<Index>(), any::<bool>(), any::<bool>())
            .prop_map(|(of, terminate, stale)| Step::Cancel { of, terminate, stale }),
        3 => Just(Step::Release),
        2 => (0..2_usize, any::<bool>()).prop_map(|(queue, paused)| Step::Pause { queue, paused }),
        2 => (0..2_usize, 1..4_usize)
            .prop_map(|(queue, workers)| Step::Workers { queue, workers }),
        6 => (0..30_i64).prop_map(Step::Pass),
        2 => (-40..40_i64).prop_map(Step::Jump),
        2 => Just(Step::Clean),
        1 => Just(Step::Stop),
        1 => Just(Step::Vanish),
        2 => Just(Step::Crash),
    ]
}

/// Half of all jobs say nothing of time.
fn asked() -> impl Strategy<Value = Asked> {
    let lane = (0..2_usize, 0..2_usize).prop_map(|(queue, pool)| Lane { queue, pool });
    let start = prop_oneof![
        4 => Just(Start::AtOnce),
        1 => (1..40_i64).prop_map(Start::After),
        1 => (1..40_i64).prop_map(Start::At),
    ];
    let rarely = |most: i64| prop::option::weighted(0.2, 1..most);
    let limits = (rarely(40), rarely(80), 1..4_u32, rarely(60)).prop_map(
        |(start, total, max_attempts, retention)| Limits { start, total, max_attempts, retention },
    );
    let never = Limits { start: None, total: None, max_attempts: 1, retention: None };
    let time = prop_oneof![
        1 => Just((Start::AtOnce, never)),
        1 => (start, limits),
    ];
    (-1..=1_i64, lane, prop::bool::weighted(0.2), time).prop_map(
        |(priority, lane, once, (start, limits))| Asked { priority, lane, once, start, limits },
    )
}
