//! Turns of look-ups: how many of which names may be looked up at once, who is next, and what was answered a moment ago.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Answer, Purpose};

/// A look-up that takes longer has not been quick, and its place is free for others of its kind.
const BRISK_FOR: Duration = Duration::from_secs(1);
/// So long the addresses of a name are known. Each is held against the policy at each use.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// So long it is known that a name has none.
const MISSING_FOR: Duration = Duration::from_secs(1);
/// Names of which something is remembered.
const NAMES_MAX: usize = 4_096;
/// How a name was answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pace {
    /// With addresses, within a second.
    Quick,
    /// Nothing is known of it.
    New,
    /// Late, or never.
    Slow,
}

impl Pace {
    /// Look-ups at once of such names that began within a second, and of all. A place is a thread of the system's
    /// resolver, which nobody can call back.
    fn places(self) -> (usize, usize) {
        match self {
            Self::Quick => (32, 64),
            Self::New => (64, 192),
            Self::Slow => (32, 32),
        }
    }
}

/// A place in the line of names that were answered for so.
pub(super) type Ticket = (Pace, u64);

/// What to do now.
#[derive(Debug)]
pub(super) enum Step {
    Known(Answer),
    /// Somebody's look-up of the name is under way.
    Join(watch::Receiver<Option<Answer>>),
    Begin(watch::Sender<Option<Answer>>, watch::Receiver<Option<Answer>>),
    Wait,
}

/// What is remembered of a name.
struct Name {
    pace: Pace,
    answer: Option<(Instant, Answer)>,
    asked: Instant,
}

/// A look-up that is under way.
struct Running {
    pace: Pace,
    since: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl Running {
    fn is_brisk(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < BRISK_FOR
    }
}

/// Look-ups that are under way, whoever waits for a turn, and what is remembered.
#[derive(Default)]
pub(super) struct Turns {
    names: HashMap<String, Name>,
    running: HashMap<(Purpose, String), Running>,
    /// Who waits, the longest first.
    line: HashMap<(Purpose, Pace), BTreeSet<u64>>,
    tickets: u64,
}

impl Turns {
    /// What whoever asks for `name` does now. A `ticket` is a place in the line; it is given back by [`Turns::leave`].
    pub(super) fn step(
        &mut self,
        name: &str,
        purpose: Purpose,
        ticket: &mut Option<Ticket>,
        now: Instant,
    ) -> Step {
        if let Some(answer) = self.known(name, now) {
            return Step::Known(answer);
        }
        let key = (purpose, name.to_owned());
        if let Some(running) = self.running.get(&key) {
            return Step::Join(running.answer.clone());
        }
        let pace = self.names.get(name).map_or(Pace::New, |known| known.pace);
        let (pace, number) = *ticket.get_or_insert_with(|| {
            self.tickets += 1;
            self.line.entry((purpose, pace)).or_default().insert(self.tickets);
            (pace, self.tickets)
        });
        let before = self.line.get(&(purpose, pace)).map_or(0, |it| it.range(..number).count());
        if before >= self.free(purpose, pace, now) {
            return Step::Wait;
        }
        self.leave(purpose, ticket);
        let (told, answer) = watch::channel(None);
        self.running.insert(key, Running { pace, since: now, answer: answer.clone() });
        Step::Begin(told, answer)
    }

    /// A look-up of that name could not begin.
    pub(super) fn never_began(&mut self, name: &str, purpose: Purpose) {
        self.running.remove(&(purpose, name.to_owned()));
    }

    fn known(&mut self, name: &str, now: Instant) -> Option<Answer> {
        let known = self.names.get_mut(name)?;
        known.asked = now;
        let (until, answer) = known.answer.as_ref()?;
        (now < *until).then(|| answer.clone())
    }

    fn free(&self, purpose: Purpose, pace: Pace, now: Instant) -> usize {
        let (brisk_max, all_max) = pace.places();
        let same = |(key, running): &(&(Purpose, String), &Running)| {
            key.0 == purpose && running.pace == pace
        };
        let (mut brisk, mut all) = (0, 0);
        for (_, running) in self.running.iter().filter(same) {
            all += 1;
            brisk += usize::from(running.is_brisk(now));
        }
        brisk_max.saturating_sub(brisk).min(all_max.saturating_sub(all))
    }

    /// Gives a place in the line back.
    pub(super) fn leave(&mut self, purpose: Purpose, ticket: &mut Option<Ticket>) {
        if let Some((pace, number)) = ticket.take()
            && let Some(line) = self.line.get_mut(&(purpose, pace))
        {
            line.remove(&number);
        }
    }

    /// A look-up has ended with that answer.
    pub(super) fn ended(
        &mut self,
        name: &str,
        purpose: Purpose,
        made: (&Answer, Instant),
        now: Instant,
    ) {
        let (answer, begun) = made;
        self.running.remove(&(purpose, name.to_owned()));
        let is_brisk = now.saturating_duration_since(begun) < BRISK_FOR;
        let (pace, lasts) = match answer {
            Ok(_) if is_brisk => (Pace::Quick, KNOWN_FOR),
            Ok(_) => (Pace::Slow, KNOWN_FOR),
            Err(_) if is_brisk => (Pace::New, MISSING_FOR),
            Err(_) => (Pace::Slow, MISSING_FOR),
        };
        self.make_room(name);
        let kept = Some((now + lasts, answer.clone()));
        self.names.insert(name.to_owned(), Name { pace, answer: kept, asked: now });
    }

    /// Forgets the name that was asked for the longest ago, one that was quick only if there is no other.
    fn make_room(&mut self, name: &str) {
        if self.names.len() < NAMES_MAX || self.names.contains_key(name) {
            return;
        }
        let age = |known: &Name| (known.pace == Pace::Quick, known.asked);
        let oldest = self.names.iter().min_by_key(|(_, known)| age(known));
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            self.names.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::super::Failed;
    use super::*;

    const FOUND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 215, 14));

    fn found() -> Answer {
        Ok(Arc::new([FOUND]))
    }

    /// Somebody asks, and waits in line if there is no place.
    fn ask(turns: &mut Turns, name: &str, purpose: Purpose, now: Instant) -> bool {
        matches!(turns.step(name, purpose, &mut None, now), Step::Begin(..))
    }

    fn answer(turns: &mut Turns, name: &str, begun: Instant, now: Instant) {
        turns.ended(name, Purpose::Delivery, (&found(), begun), now);
    }

    /// As many as there is room for, of names that never answer; how many those are.
    fn hang(turns: &mut Turns, from: &str, purpose: Purpose, now: Instant) -> usize {
        let names = (0..1_000).map(|number| format!("{from}{number}.example"));
        let begun = names.filter(|name| ask(turns, name, purpose, now)).count();
        // Nobody waits any more.
        turns.line.clear();
        begun
    }

    #[test]
    fn names_that_hang_however_many_leave_room_for_those_that_were_quick() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!(ask(&mut turns, "good.example", Purpose::Delivery, start));
        answer(&mut turns, "good.example", start, start);
        for second in 0..10 {
            let now = start + BRISK_FOR * second;
            hang(&mut turns, &format!("hang{second}-"), Purpose::Delivery, now);
        }
        assert_eq!(turns.running.len(), Pace::New.places().1);
        let later = start + BRISK_FOR * 10;
        assert!(!ask(&mut turns, "new.example", Purpose::Delivery, later));
        assert!(ask(&mut turns, "good.example", Purpose::Delivery, later));
    }

    #[test]
    fn a_new_name_waits_for_others_that_are_new_and_hang_a_second_at_most_while_there_are_places() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert_eq!(hang(&mut turns, "hang", Purpose::Delivery, start), Pace::New.places().0);
        assert!(!ask(&mut turns, "new.example", Purpose::Delivery, start));
        assert!(ask(&mut turns, "new.example", Purpose::Delivery, start + BRISK_FOR));
    }

    #[test]
    fn look_ups_of_functions_take_no_place_of_those_of_webhooks() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        for second in 0..10 {
            hang(&mut turns, &format!("{second}-"), Purpose::Call, start + BRISK_FOR * second);
        }
        assert!(ask(&mut turns, "new.example", Purpose::Delivery, start + BRISK_FOR * 10));
    }

    #[test]
    fn a_name_is_looked_up_once_however_many_ask_and_what_hung_stays_among_its_like() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        assert!(ask(&mut turns, "hang.example", Purpose::Delivery, start));
        for _ in 0..100 {
            let step = turns.step("hang.example", Purpose::Delivery, &mut None, start);
            assert!(matches!(step, Step::Join(_)), "{step:?}");
        }
        let late = start + BRISK_FOR * 10;
        let timed_out = Err(Failed::new(io::Error::other("no answer")));
        turns.ended("hang.example", Purpose::Delivery, (&timed_out, start), late);
        let again = late + MISSING_FOR;
        assert!(ask(&mut turns, "hang.example", Purpose::Delivery, again));
        assert_eq!(turns.free(Purpose::Delivery, Pace::New, again), Pace::New.places().0);
        assert_eq!(turns.free(Purpose::Delivery, Pace::Slow, again), Pace::Slow.places().0 - 1);
    }

    #[test]
    fn an_answer_is_known_for_some_seconds_and_that_there_is_none_for_one() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        answer(&mut turns, "good.example", start, start);
        let missing = Err(Failed::new(io::Error::other("no such name")));
        turns.ended("missing.example", Purpose::Delivery, (&missing, start), start);
        for (name, lasts) in [("good.example", KNOWN_FOR), ("missing.example", MISSING_FOR)] {
            assert!(turns.known(name, start + lasts - Duration::from_millis(1)).is_some());
            assert!(turns.known(name, start + lasts).is_none());
        }
    }

    #[test]
    fn whoever_waited_longest_is_next_and_who_goes_away_holds_up_nobody() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        hang(&mut turns, "hang", Purpose::Delivery, start);
        let (mut first, mut second) = (None, None);
        turns.step("first.example", Purpose::Delivery, &mut first, start);
        turns.step("second.example", Purpose::Delivery, &mut second, start);
        let ended = turns.running.keys().next().expect("it runs").1.clone();
        answer(&mut turns, &ended, start, start);
        let step = turns.step("second.example", Purpose::Delivery, &mut second, start);
        assert!(matches!(step, Step::Wait), "one is before it");
        turns.leave(Purpose::Delivery, &mut first);
        let step = turns.step("second.example", Purpose::Delivery, &mut second, start);
        assert!(matches!(step, Step::Begin(..)), "{step:?}");
    }

    #[test]
    fn a_flood_of_names_makes_nobody_forget_which_ones_were_quick() {
        let (mut turns, start) = (Turns::default(), Instant::now());
        answer(&mut turns, "good.example", start, start);
        let missing = Err(Failed::new(io::Error::other("no such name")));
        for number in 0..2 * NAMES_MAX {
            let name = format!("{number}.example");
            turns.ended(&name, Purpose::Call, (&missing, start), start + BRISK_FOR);
        }
        assert_eq!(turns.names.len(), NAMES_MAX);
        assert_eq!(turns.names["good.example"].pace, Pace::Quick);
    }
}
