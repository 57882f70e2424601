//! A supervisor: sees to it that there is a process in its place, and starts another when one is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::runtime::process::Refused;
use crate::runtime::processes::Processes;

use super::renewal::RenewalPermit;
use super::session::{Gone, Lost, Session};
use super::{Assignment, Worker};

/// From the first loss of a process to its next start; doubled at each loss that follows soon.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const BACKOFF_LAST: Duration = Duration::from_secs(30);
/// How long a process that has served its time may take to end by itself once its input is closed.
const LEAVE: Duration = Duration::from_secs(5);
/// The same when the server stops.
const HURRY: Duration = Duration::from_millis(500);
/// A process that has served so long was not lost by its start.
const SERVED_WELL: Duration = Duration::from_secs(10);

/// Keeps one process of `worker` alive, until the worker is closed.
pub(super) async fn supervise(worker: Worker, processes: Processes, number: usize) {
    let closing = worker.shared.closing.clone();
    let mut backoff = BACKOFF_FIRST;
    let mut turn = None;
    loop {
        let started = Instant::now();
        let over = live(&worker, &processes, number, &mut turn).await;
        if closing.is_cancelled() {
            return;
        }
        let reason = match over {
            Over::Lost(reason) => reason,
            Over::Served | Over::Renewed(_) => {
                if let Over::Renewed(taken) = over {
                    turn = Some(taken);
                }
                backoff = BACKOFF_FIRST;
                continue;
            }
            // One that does nothing else than to make way would be started as fast as it goes.
            Over::Retired if started.elapsed() < SERVED_WELL => {
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = closing.cancelled() => return,
                }
                backoff = (backoff * 2).min(BACKOFF_LAST);
                continue;
            }
            Over::Retired => {
                backoff = BACKOFF_FIRST;
                continue;
            }
        };
        tracing::warn!(worker = worker.name(), process = number, %reason, "a process of a worker is lost");
        if started.elapsed() > SERVED_WELL {
            backoff = BACKOFF_FIRST;
        }
        {
            let mut state = worker.lock();
            state.shown.restarts += 1;
            state.shown.last_error = Some(reason);
        }
        worker.shared.changed.send_replace(());
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = closing.cancelled() => return,
        }
        backoff = (backoff * 2).min(BACKOFF_LAST);
    }
}

/// How the life of a process ended.
enum Over {
    /// It had served its time.
    Served,
    /// It asked to make way before it was given a call.
    Retired,
    /// It gave way to a new one.
    Renewed(RenewalPermit),
    /// It was lost, and why.
    Lost(String),
}

/// The life of one process. If it takes the place of one that gave way, it has its turn until it is ready.
async fn live(
    worker: &Worker,
    processes: &Processes,
    number: usize,
    turn: &mut Option<RenewalPermit>,
) -> Over {
    // Before its code is read: what is asked for later, it does not have.
    let generation = worker.shared.renewal.generation();
    let settings = &worker.shared.settings;
    let name = format!("worker-{}-{number}", worker.name());
    let place = match processes.place(&name, settings.user.as_ref()).await {
        Ok(place) => place,
        Err(error) => return Over::Lost(format!("its directory cannot be made: {error}")),
    };
    let directory = settings.directory.as_deref();
    let program = place.program(
        settings.argv.clone(),
        settings.environment.clone(),
        directory,
        (settings.limits, settings.user.clone()),
    );
    let given_up = worker.shared.closing.cancelled();
    let over = match processes.spawner().spawn(program, given_up).await {
        Ok(process) => {
            let mut session = Session::new(worker, process);
            let over = match begun(worker, &mut session, generation).await {
                Ok(()) => serve(worker, &mut session, generation, turn.take()).await,
                Err(reason) => Over::Lost(session.lost(reason).await),
            };
            session.end(if worker.shared.closing.is_cancelled() { HURRY } else { LEAVE }).await;
            over
        }
        Err(Refused::Exhausted(error)) => {
            Over::Lost(format!("no process can be had just now: {error}"))
        }
        Err(refused) => Over::Lost(refused.to_string()),
    };
    place.remove().await;
    over
}

/// The process has said in time what it can do.
async fn begun(worker: &Worker, session: &mut Session, generation: u64) -> Result<(), Lost> {
    let limit = worker.shared.settings.initialize_timeout;
    tokio::select! {
        introduced = timeout(limit, introduced(worker, session, generation)) => introduced.unwrap_or_else(|_too_long| {
            let seconds = limit.as_secs_f64();
            Err(Lost::of(format!("it did not answer initialize within {seconds} s")))
        }),
        () = worker.shared.closing.cancelled() => Err(Lost::of("the server stops")),
    }
}

/// Takes note of what the process can do, and checks that it can do what it should.
async fn introduced(worker: &Worker, session: &mut Session, generation: u64) -> Result<(), Lost> {
    let announced = session.introduce().await?;
    let wanted = match (&worker.shared.settings.functions, worker.shared.renewal.announced()) {
        (Some(named), _) => named.clone(),
        (None, Some(before)) => before.keys().cloned().collect(),
        (None, None) => Vec::new(),
    };
    for name in wanted {
        if !announced.iter().any(|function| function.name == name) {
            let known: Vec<&str> =
                announced.iter().map(|function| function.name.as_str()).collect();
            let known = known.join(", ");
            return Err(Lost::of(format!("it does not announce '{name}'; it announces: {known}")));
        }
    }
    let by_name: BTreeMap<_, _> = announced.into_iter().map(|it| (it.name.clone(), it)).collect();
    let new: Vec<String> = by_name.keys().map(ToString::to_string).collect();
    if let Some(before) = worker.shared.renewal.announce(generation, Arc::new(by_name)) {
        let new = new.into_iter().filter(|name| !before.keys().any(|it| it.as_str() == name));
        let new = new.collect::<Vec<_>>().join(", ");
        if !new.is_empty() && worker.announces() {
            tracing::warn!(
                worker = worker.name(),
                functions = new,
                "new functions of a worker: restart to have them"
            );
        }
    }
    Ok(())
}

/// Takes calls, one at a time.
async fn serve(
    worker: &Worker,
    session: &mut Session,
    generation: u64,
    turn: Option<RenewalPermit>,
) -> Over {
    let (sender, mut assignments) = mpsc::channel(1);
    let calls_max = worker.shared.settings.max_calls_per_process.unwrap_or(u64::MAX);
    let idle = sender.clone();
    worker
        .resize(move |state| {
            state.idle.push(idle);
            state.shown.ready += 1;
        })
        .await;
    if turn.is_some() {
        tracing::info!(worker = worker.name(), "a process of a worker is renewed");
    }
    drop(turn);
    let renewal = &worker.shared.renewal;
    for calls in 1.. {
        let next = tokio::select! {
            biased;
            next = assignments.recv() => next,
            () = worker.shared.closing.cancelled() => None,
            turn = renewal.due(generation) => {
                leave(worker, &sender, false).await;
                // A call that was assigned meanwhile waits for another process.
                return Over::Renewed(turn);
            }
            gone = session.idle() => {
                let over = match gone {
                    Gone::Lost(lost) => Over::Lost(session.lost(lost).await),
                    Gone::Retires if session.is_fresh() => Over::Retired,
                    Gone::Retires => Over::Served,
                };
                // A call that was assigned meanwhile waits for another process.
                leave(worker, &sender, false).await;
                return over;
            }
        };
        let Some(Assignment { call, arguments, kill, outcome }) = next else { break };
        worker.lock().shown.busy += 1;
        let ended = session.call(&call, &arguments, &kill).await;
        let turn = renewal.is_due(generation).filter(|_| ended.lost.is_none());
        let is_over =
            ended.lost.is_some() || turn.is_some() || session.retires() || calls >= calls_max;
        // The claim knows of the place before the job gives its slot back.
        if is_over {
            leave(worker, &sender, true).await;
        } else {
            let mut state = worker.lock();
            state.shown.busy -= 1;
            state.idle.push(sender.clone());
        }
        drop(outcome.send(ended.outcome));
        match (ended.lost, turn) {
            (Some(reason), _) => return Over::Lost(reason),
            (None, Some(turn)) => return Over::Renewed(turn),
            (None, None) if is_over => break,
            (None, None) => {}
        }
    }
    Over::Served
}

/// The process takes no more calls.
async fn leave(worker: &Worker, process: &mpsc::Sender<Assignment>, was_busy: bool) {
    worker
        .resize(|state| {
            state.idle.retain(|idle| !idle.same_channel(process));
            state.shown.ready -= 1;
            state.shown.busy -= usize::from(was_busy);
        })
        .await;
}
