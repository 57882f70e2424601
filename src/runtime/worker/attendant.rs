//! An attendant: sees to it that there is a process in its place, and starts another when one is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::runtime::process::Refused;
use crate::runtime::processes::Processes;

use super::seat::{Lost, Seat};
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
pub(super) async fn attend(worker: Worker, processes: Processes, number: usize) {
    let closing = worker.shared.closing.clone();
    let mut backoff = BACKOFF_FIRST;
    loop {
        let started = Instant::now();
        let lost = live(&worker, &processes, number).await;
        if closing.is_cancelled() {
            return;
        }
        let Some(reason) = lost else {
            backoff = BACKOFF_FIRST;
            continue;
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

/// The life of one process: gives why it was lost, or none if it had served its time.
async fn live(worker: &Worker, processes: &Processes, number: usize) -> Option<String> {
    let settings = &worker.shared.settings;
    let name = format!("worker-{}-{number}", worker.name());
    let place = match processes.place(&name, settings.user.as_ref()).await {
        Ok(place) => place,
        Err(error) => return Some(format!("its directory cannot be made: {error}")),
    };
    let directory = settings.directory.as_deref();
    let program = place.program(
        settings.argv.clone(),
        settings.environment.clone(),
        directory,
        (settings.limits, settings.user.clone()),
    );
    let given_up = worker.shared.closing.cancelled();
    let lost = match processes.spawner().spawn(program, given_up).await {
        Ok(process) => {
            let mut seat = Seat::new(worker, process);
            let lost = match begun(worker, &mut seat).await {
                Ok(()) => serve(worker, &mut seat).await,
                Err(reason) => Some(seat.lost(reason).await),
            };
            seat.end(if worker.shared.closing.is_cancelled() { HURRY } else { LEAVE }).await;
            lost
        }
        Err(Refused::Exhausted(error)) => Some(format!("no process can be had just now: {error}")),
        Err(refused) => Some(refused.to_string()),
    };
    place.remove().await;
    lost
}

/// The process has said in time what it can do.
async fn begun(worker: &Worker, seat: &mut Seat) -> Result<(), Lost> {
    let limit = worker.shared.settings.initialize_timeout;
    tokio::select! {
        introduced = timeout(limit, introduced(worker, seat)) => introduced.unwrap_or_else(|_too_long| {
            let seconds = limit.as_secs_f64();
            Err(Lost::of(format!("it did not answer initialize within {seconds} s")))
        }),
        () = worker.shared.closing.cancelled() => Err(Lost::of("the server stops")),
    }
}

/// Takes note of what the process can do, and checks that it can do what it should.
async fn introduced(worker: &Worker, seat: &mut Seat) -> Result<(), Lost> {
    let announced = seat.introduce().await?;
    let wanted = match (&worker.shared.settings.functions, worker.shared.announced.get()) {
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
    // The first announcement stays: what a server can do does not change while it runs.
    drop(worker.shared.announced.set(by_name));
    Ok(())
}

/// Takes calls, one at a time.
async fn serve(worker: &Worker, seat: &mut Seat) -> Option<String> {
    let (sender, mut assignments) = mpsc::channel(1);
    let calls_max = worker.shared.settings.max_calls_per_process.unwrap_or(u64::MAX);
    let idle = sender.clone();
    worker
        .resize(move |state| {
            state.idle.push(idle);
            state.shown.ready += 1;
        })
        .await;
    for calls in 1.. {
        let next = tokio::select! {
            biased;
            next = assignments.recv() => next,
            () = worker.shared.closing.cancelled() => None,
            lost = seat.idle() => {
                let reason = seat.lost(lost).await;
                leave(worker, &sender, false).await;
                // A call that was assigned meanwhile waits for another process.
                return Some(reason);
            }
        };
        let Assignment { call, arguments, kill, outcome } = next?;
        worker.lock().shown.busy += 1;
        let ended = seat.call(&call, &arguments, &kill).await;
        let is_over = ended.lost.is_some() || calls >= calls_max;
        // The claim knows of the place before the job gives its slot back.
        if is_over {
            leave(worker, &sender, true).await;
        } else {
            let mut state = worker.lock();
            state.shown.busy -= 1;
            state.idle.push(sender.clone());
        }
        drop(outcome.send(ended.outcome));
        if is_over {
            return ended.lost;
        }
    }
    None
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
