//! Every step that can follow a state.

use idempotent_runtime::{
    store::{Acquired, Change, ClaimOutcome, Expect, Head, Put, Seen, State, Swapped},
    testing::Kept,
};

use super::{
    operation::{Input, LEASE, Next, PROBE, Running, Told, count_steps, request},
    rules::Without,
    world::{Attempt, Life, Place, UnderWay, World},
};

/// What a step does to the register: it can be replayed on a store.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Swap { expect: Expect, put: Put, seen: Seen, late: bool, done: bool },
    Read(Seen),
    Lose,
    Pass,
}

/// A step: what happens, the state after it, and the call that it makes.
pub(super) struct Step {
    pub(super) what: String,
    pub(super) world: World,
    pub(super) call: Option<Call>,
}

/// How many leases a command can be held up. A freed key is remembered for longer.
const HELD_UP: u8 = 1;

pub(super) fn all(world: &World, without: Option<Without>) -> Vec<Step> {
    let mut steps = Steps { world, without, made: Vec::new() };
    for command in 0..world.under_way.len() {
        steps.of_command(command);
    }
    for by in 0..world.attempts.len() {
        steps.of_attempt(by);
    }
    if world.left.ticks > 0 {
        steps.add("a lease passes".to_owned(), |world| {
            world.left.ticks -= 1;
            world.now += 1;
            Some(Call::Pass)
        });
    }
    if world.left.losses > 0 && world.record.is_some() {
        steps.add("the store loses its data".to_owned(), |world| {
            world.left.losses -= 1;
            world.data_lost = true;
            world.record = None;
            // The mark of a freed key is lost as well.
            for attempt in &mut world.attempts {
                attempt.freed = false;
            }
            Some(Call::Lose)
        });
    }
    steps.made
}

/// Whether a later attempt gets an answer, when all others stand still.
pub(super) fn is_answered(world: &World, without: Option<Without>) -> bool {
    let mut world = world.clone();
    world.now += 1;
    let mut counted = world.attempts[0].counted;
    let mut claim = Running::claim(PROBE);
    let mut next = claim.go(Input::Begin, &mut counted);
    loop {
        let input = match next {
            Next::Read => Input::Met(world.seen()),
            Next::Swap(expect, put) => {
                let seen = world.seen();
                if Without::allows(without, &expect, &seen) { Input::Written(put.head.fence) } else { Input::Met(seen) }
            }
            Next::Told(Told::Claim(ClaimOutcome::Acquired(_) | ClaimOutcome::Done(_))) => return true,
            // Another request has the key.
            Next::Told(Told::Claim(ClaimOutcome::OtherRequest)) => return world.attempts.len() == 3,
            _ => return false,
        };
        next = claim.go(input, &mut counted);
    }
}

struct Steps<'a> {
    world: &'a World,
    without: Option<Without>,
    made: Vec<Step>,
}

impl Steps<'_> {
    fn add(&mut self, what: String, change: impl FnOnce(&mut World) -> Option<Call>) {
        let mut world = self.world.clone();
        let call = change(&mut world);
        self.made.push(Step { what, world, call });
    }

    fn of_command(&mut self, at: usize) {
        let (world, without) = (self.world, self.without);
        let command = &world.under_way[at];
        let name =
            format!("{:?} {} of attempt {}", command.put.head.state, command.put.head.change.number(), command.by);
        let in_time = command.put.not_after.is_some() || world.now - command.at <= HELD_UP;
        if command.waits.is_none() && !in_time {
            return;
        }
        let arrive = |world: &mut World, stays: bool| {
            let mut command = if stays { world.under_way[at].clone() } else { world.under_way.remove(at) };
            if stays {
                world.under_way[at].waits = None;
            }
            let seen = world.seen();
            let swapped = world.carry_out(&command, without);
            let (expect, put) = (command.expect.clone(), command.put.clone());
            let (late, done) = (matches!(swapped, Swapped::Late), matches!(swapped, Swapped::Done { .. }));
            if let Some(place) = command.waits.take() {
                match swapped {
                    Swapped::Done { fence } => go(world, command.by, place, Input::Written(fence), without),
                    Swapped::Found(seen) => go(world, command.by, place, Input::Met(seen), without),
                    Swapped::Late | Swapped::Refused(..) => failed(world, command.by, place, without),
                }
            }
            Some(Call::Swap { expect, put, seen, late, done })
        };
        self.add(format!("arrives: {name}"), |world| arrive(world, false));
        if world.left.doubled > 0 && command.waits.is_some() {
            self.add(format!("arrives, and will arrive again: {name}"), |world| {
                world.left.doubled -= 1;
                arrive(world, true)
            });
        }
        if let (Some(place), 1..) = (command.waits, world.left.given_up) {
            let by = command.by;
            self.add(format!("is given up: {name}"), |world| {
                world.left.given_up -= 1;
                world.under_way[at].waits = None;
                failed(world, by, place, without);
                None
            });
        }
    }

    fn of_attempt(&mut self, by: usize) {
        let (world, without) = (self.world, self.without);
        let attempt = &world.attempts[by];
        for (place, operation) in [(Place::Main, &attempt.main), (Place::Beat, &attempt.beat)] {
            if operation.as_ref().is_some_and(|operation| operation.reads) {
                self.add(format!("attempt {by} reads"), |world| {
                    let seen = world.seen();
                    go(world, by, place, Input::Met(seen.clone()), without);
                    Some(Call::Read(seen))
                });
            }
        }
        if !matches!(attempt.life, Life::Start | Life::Over) && world.left.crashes > 0 {
            self.add(format!("attempt {by} crashes"), |world| {
                world.left.crashes -= 1;
                let attempt = &mut world.attempts[by];
                (attempt.life, attempt.main, attempt.beat) = (Life::Over, None, None);
                for command in world.under_way.iter_mut().filter(|command| command.by == by) {
                    command.waits = None;
                }
                None
            });
        }
        match attempt.life {
            Life::Start => self.begin(by, "claims", Life::Claiming, Running::claim(by)),
            Life::Handler => self.of_handler(by, attempt),
            _ => {}
        }
    }

    fn of_handler(&mut self, by: usize, attempt: &Attempt) {
        let Attempt { fence, recovering, steps, saved, .. } = *attempt;
        if self.world.left.steps > 0 && !attempt.lost {
            let without = self.without;
            self.add(format!("attempt {by} runs a step and saves it"), |world| {
                world.left.steps -= 1;
                world.attempts[by].steps += 1;
                begin(world, by, Life::Saving, Running::save(by, fence, steps + 1), without);
                None
            });
        }
        if attempt.beat.is_some() {
            return;
        }
        if attempt.renewals > 0 && !attempt.lost {
            let without = self.without;
            self.add(format!("attempt {by} renews its lease"), |world| {
                world.attempts[by].renewals -= 1;
                let running = Running::renew(by, fence, recovering, saved);
                world.attempts[by].beat = Some(UnderWay { running, since: world.now, reads: false });
                go(world, by, Place::Beat, Input::Begin, without);
                None
            });
        }
        self.begin(by, "answers", Life::Completing, Running::complete(by, fence));
        self.begin(by, "frees its key", Life::Releasing, Running::release(by, fence));
        self.begin(by, "stops", Life::Abandoning, Running::abandon(by));
    }

    fn begin(&mut self, by: usize, what: &str, life: Life, running: Running) {
        let without = self.without;
        self.add(format!("attempt {by} {what}"), |world| {
            begin(world, by, life, running, without);
            None
        });
    }
}

fn begin(world: &mut World, by: usize, life: Life, running: Running, without: Option<Without>) {
    let attempt = &mut world.attempts[by];
    attempt.life = life;
    attempt.asked_to_free |= life == Life::Releasing;
    attempt.main = Some(UnderWay { running, since: world.now, reads: false });
    go(world, by, Place::Main, Input::Begin, without);
}

/// Passes something to an operation, and sends or notes what follows.
fn go(world: &mut World, by: usize, place: Place, input: Input, without: Option<Without>) {
    let attempt = &mut world.attempts[by];
    let slot = if place == Place::Main { &mut attempt.main } else { &mut attempt.beat };
    let Some(operation) = slot else { return };
    let ends = matches!(operation.running, Running::End(_));
    let input = match input {
        Input::Met(seen) => {
            let own = Head {
                token: request(by).token,
                change: Change::FIRST,
                state: State::Done,
                fence: 0,
                lease: LEASE,
                kept: LEASE,
                fingerprint: request(by).fingerprint,
            };
            Input::Met(Without::seen(without, seen, &own, ends))
        }
        input => input,
    };
    operation.reads = false;
    let since = operation.since;
    match operation.running.go(input, &mut attempt.counted) {
        Next::Read => operation.reads = true,
        Next::Swap(expect, put) => world.send(by, place, expect, put),
        Next::Clock => {
            let now = world.clock();
            go(world, by, place, Input::Clock(now), without);
        }
        Next::Failed => failed(world, by, place, without),
        Next::Told(told) => {
            *slot = None;
            told_by(world, by, (place, since), told, without);
        }
    }
}

/// The attempt is told what came of an operation.
fn told_by(world: &mut World, by: usize, (place, since): (Place, u8), told: Told, without: Option<Without>) {
    let attempt = &mut world.attempts[by];
    match told {
        Told::Claim(ClaimOutcome::Acquired(held)) => {
            let mut held = held;
            held.recovering &= without != Some(Without::TakeoverRecovers);
            if without == Some(Without::TakeoverKeepsSteps) && attempt.life == Life::Claiming {
                held.steps = match &world.record {
                    Some(record) => record.body.clone(),
                    None => held.steps,
                };
            }
            acquired(world, by, since, &held);
        }
        Told::Claim(ClaimOutcome::Done(_)) => {
            attempt.life = Life::Over;
            let of = world.record.as_ref().map(|record| record.head.fingerprint);
            if of.is_some_and(|of| of != request(by).fingerprint) {
                world.broken = world.broken.or(Some("no request gets the response of another"));
            }
        }
        Told::Claim(_) | Told::Complete => attempt.life = Life::Over,
        Told::Keep(kept) => {
            match (kept, place) {
                (Kept::Written | Kept::Recreated, Place::Beat) => {
                    attempt.leased_until = attempt.leased_until.max(since + 1);
                }
                (Kept::Written | Kept::Recreated, Place::Main) => attempt.saved = attempt.steps,
                (Kept::Ended | Kept::Lost, _) => attempt.lost = true,
            }
            if place == Place::Main {
                attempt.life = Life::Handler;
            }
        }
        Told::End => {
            attempt.freed = attempt.life == Life::Releasing && !attempt.recovering && attempt.steps == 0;
            attempt.life = Life::Over;
        }
    }
}

fn acquired(world: &mut World, by: usize, since: u8, held: &Acquired) {
    let others = || world.attempts.iter().enumerate().filter(|(other, _)| *other != by).map(|(_, attempt)| attempt);
    let mut broken = world.broken;
    if !world.data_lost {
        if others().any(|other| other.ran && (!other.asked_to_free || other.saved > 0)) && !held.recovering {
            broken = broken.or(Some("every death is told to the next attempt"));
        }
        if others().any(|other| other.saved > count_steps(&held.steps)) {
            broken = broken.or(Some("saved steps are never lost"));
        }
    }
    if others().any(|other| other.fence >= held.fence) {
        broken = broken.or(Some("fences grow"));
    }
    world.broken = broken;
    let attempt = &mut world.attempts[by];
    (attempt.life, attempt.ran) = (Life::Handler, true);
    (attempt.fence, attempt.recovering) = (held.fence, held.recovering);
    attempt.steps = count_steps(&held.steps);
    attempt.saved = attempt.steps;
    attempt.leased_until = since + 1;
    let has_key = |attempt: &Attempt| matches!(attempt.life, Life::Handler | Life::Saving) && !attempt.lost;
    let owners = world.attempts.iter().filter(|attempt| has_key(attempt) && attempt.leased_until > world.now);
    if owners.count() > 1 && !world.data_lost {
        world.broken = world.broken.or(Some("a key never has two owners, by the store's clock"));
    }
}

/// An operation got no answer.
fn failed(world: &mut World, by: usize, place: Place, without: Option<Without>) {
    let attempt = &mut world.attempts[by];
    if place == Place::Beat {
        attempt.beat = None;
        return;
    }
    attempt.main = None;
    let fence = attempt.fence;
    match attempt.life {
        // A claim that got no answer may exist, so it is released.
        Life::Claiming | Life::Releasing => begin(world, by, Life::Releasing, Running::release(by, fence), without),
        Life::Saving => attempt.life = Life::Handler,
        Life::Completing => begin(world, by, Life::Completing, Running::complete(by, fence), without),
        Life::Abandoning => begin(world, by, Life::Abandoning, Running::abandon(by), without),
        Life::Start | Life::Handler | Life::Over => {}
    }
}
