//! The deliverer: sends what the outbox holds, at least once, and writes down what came of it (F15, F16).
//! Receivers take turns, and none takes the place of another (docs/decisions/0035).

mod alone;
mod in_flight;
mod post;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::callback::Schedule;
use crate::domain::{DeliveryState, Ordinal, Tier, Timestamp};
use crate::store::{self, DeliveryReport, DueDelivery, DueReceiver, Outbox};

use super::{Engine, again};
use in_flight::InFlight;
use post::Bodies;

/// Receivers that one look at the outbox considers. More than can be on the way, so that there is always
/// one among them to which something can be sent.
const RECEIVERS_MAX: usize = 1_024;
/// Deliveries whose bodies are made together; they are kept together as far as they are small.
const TOGETHER_MAX: usize = 32;
/// What the deliverer may have written at once, in deliveries: whoever submits a job tiers the commit with no
/// more of them.
pub(super) const WRITES_MAX: usize = 64;
/// A callback of a job waits so long for the first attempts of earlier ones that go elsewhere (F13).
const HELD_MS: i64 = 1_000;
/// Between two looks at an outbox that could not be read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks while something is due that cannot be sent yet.
const LOOK_AGAIN_SOON: Duration = Duration::from_millis(250);
/// The longest sleep; the outbox is looked at again even if nobody says that something is due.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What the deliverer needs to know.
#[derive(Clone, Debug)]
pub struct DelivererConfig {
    /// When deliveries are tried.
    pub schedule: Schedule,
    /// A POST takes at most this long, from connecting to the end of the answer.
    pub timeout: Duration,
    /// POSTs at once to one receiver.
    pub at_once_per_host: usize,
}

/// Runs until the server ends. `suspects` go first, each alone.
pub(super) async fn run(engine: Engine, suspects: Vec<Ordinal>) {
    let mut in_flight = InFlight::new(engine.shared.config.deliverer.at_once_per_host);
    let ends = tokio::select! {
        () = engine.shared.shutdown.waits.cancelled() => true,
        () = engine.send_alone(suspects, &mut in_flight) => false,
    };
    if ends {
        return in_flight.end().await;
    }
    loop {
        let sleep = match engine.send_due(&mut in_flight).await {
            Ok(sleep) => sleep,
            Err(error) => {
                again::failed(&error, "the outbox cannot be read");
                LOOK_AGAIN
            }
        };
        tokio::select! {
            () = engine.shared.shutdown.waits.cancelled() => break,
            () = engine.shared.deliveries_due.notified() => {}
            () = in_flight.next_finished() => {}
            () = tokio::time::sleep(sleep) => {}
        }
        // Everything that has finished meanwhile makes one look at the outbox, not one each.
        in_flight.take_finished();
    }
    // What is on its way may arrive without being written down; then it is sent again, with the same id.
    in_flight.end().await;
}

impl Engine {
    /// Sends what is due and has room; says how long to sleep.
    async fn send_due(&self, in_flight: &mut InFlight) -> Result<Duration, store::Error> {
        let mut found = Vec::new();
        let looked = self.look(in_flight, &mut found).await;
        if looked.is_err() {
            found.iter().for_each(|due| in_flight.give_back(due.callback));
            return looked;
        }
        while !found.is_empty() {
            let together = found.split_off(found.len().saturating_sub(TOGETHER_MAX));
            let bodies = Arc::new(Bodies::of(&together));
            for due in together {
                in_flight.send(self.clone(), due, Arc::clone(&bodies));
            }
        }
        looked
    }

    /// Finds what is due and takes the places for it; says how long to sleep then.
    async fn look(
        &self,
        in_flight: &mut InFlight,
        found: &mut Vec<DueDelivery>,
    ) -> Result<Duration, store::Error> {
        let now = self.now();
        let mut outbox = self.shared.store.outbox(now).await?;
        let mut waits = false;
        for tier in Tier::ALL {
            if !in_flight.has_room(tier) {
                waits = true;
                continue;
            }
            for receiver in outbox.receivers(tier, RECEIVERS_MAX).await? {
                waits |= !find(&mut outbox, in_flight, &receiver, found, now).await?;
            }
        }
        let next = outbox.next_turn_at().await?.map_or(SLEEP_MAX, |at| {
            Duration::from_millis(u64::try_from(at.millis_since(now)).unwrap_or(0))
        });
        Ok(next.min(if waits { LOOK_AGAIN_SOON } else { SLEEP_MAX }))
    }

    /// One POST of one delivery.
    async fn deliver(self, due: DueDelivery, bodies: Arc<Bodies>) {
        let id = due.id;
        let sent = match self.post(&due, bodies).await {
            Ok(sent) => sent,
            Err(error) => {
                again::failed(&error, "a delivery could not be prepared");
                tokio::time::sleep(LOOK_AGAIN).await;
                return;
            }
        };
        let number = due.attempts + 1;
        // A delivery that was asked for again has its whole schedule before it.
        let tried = number.saturating_sub(due.schedule_from);
        let schedule = &self.shared.config.deliverer.schedule;
        let now = self.now();
        let (state, next_at) = schedule.after(tried, sent.answer, now, rand::random::<f64>());
        if state == DeliveryState::Failed {
            tracing::warn!(callback.id = %id, host = due.host, attempts = number, "a delivery has failed");
        }
        let report = DeliveryReport {
            callback: due.callback,
            host: due.host,
            health: sent.health(),
            number,
            now,
            attempt: sent.attempt,
            state,
            next_at,
        };
        let turn = self.shared.delivery_writes.acquire().await;
        let recorded = self.shared.store.record_delivery(report).await;
        drop(turn);
        if let Err(error) = recorded {
            // It stays due and is sent again: at least once.
            again::failed(&error, "a delivery was not recorded");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Finds what is due to one receiver, as far as there is room, and takes the places for it; false if something
/// may have to wait, for which nobody will wake us.
async fn find(
    outbox: &mut Outbox,
    in_flight: &mut InFlight,
    receiver: &DueReceiver,
    found: &mut Vec<DueDelivery>,
    now: Timestamp,
) -> Result<bool, store::Error> {
    let (room, under_way) = in_flight.room_for(receiver);
    if room == 0 {
        return Ok(under_way > 0);
    }
    // What is on its way is still due in the outbox.
    let mut due = outbox.due(&receiver.host, now.plus_millis(-HELD_MS), room + under_way).await?;
    due.retain(|due| !in_flight.has(due.callback));
    due.truncate(room);
    due.iter().for_each(|due| in_flight.take(due, receiver.health));
    let is_held = due.is_empty() && under_way == 0;
    found.append(&mut due);
    Ok(!is_held)
}
