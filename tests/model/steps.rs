//! Everything that can happen next.

use crate::{
    rules::{Call, Claimed, Rules},
    world::{ATTEMPTS, Answer, At, Record, Reply, Tx, World},
};

/// What happened, the world after it, and the call to the store.
pub(crate) struct Next {
    pub(crate) by: Option<usize>,
    pub(crate) what: &'static str,
    pub(crate) world: World,
    pub(crate) call: Option<Call>,
}

pub(crate) fn all(rules: Rules, world: &World) -> Vec<Next> {
    let mut next = Vec::new();
    for by in 0..ATTEMPTS {
        attempt(rules, world, by, &mut next);
        faults(rules, world, by, &mut next);
    }
    if let (Record::Running { over: false, .. }, 1..) = (world.record, world.faults.lapses) {
        step(&mut next, world, None, "the lease lapses", |world| {
            world.faults.lapses -= 1;
            if let Record::Running { over, .. } = &mut world.record {
                *over = true;
            }
            Some(Call::Lapse)
        });
    }
    if world.record != Record::Absent && world.faults.losses > 0 {
        step(&mut next, world, None, "the store loses its data", |world| {
            world.faults.losses -= 1;
            world.data_lost = true;
            world.record = Record::Absent;
            Some(Call::Lose)
        });
    }
    next
}

/// What an attempt does by itself.
#[allow(clippy::too_many_lines)] // one `match` over where it is
pub(crate) fn attempt(rules: Rules, world: &World, by: usize, next: &mut Vec<Next>) {
    match world.attempts[by].at {
        At::Start => step(next, world, by, "claims", |world| {
            let (answer, call) = rules.claim(world, by);
            match answer {
                Claimed::Yours { recovering, step } => {
                    world.attempts[by].recovering = recovering;
                    world.attempts[by].step = step;
                    if recovering {
                        world.attempts[by].at = At::TookOver;
                    } else {
                        start(world, by);
                    }
                }
                Claimed::Running => Rules::answer(world, by, Answer::InFlight),
                Claimed::Done(reply) => Rules::answer(world, by, Answer::Reply(reply)),
                Claimed::OtherRequest => Rules::answer(world, by, Answer::KeyReused),
            }
            Some(call)
        }),
        At::TookOver => step(next, world, by, "reads the journal before it runs", |world| {
            match world.row.filter(|_| rules.read_before_a_recovered_run) {
                Some(row) => rules.learn(world, by, row),
                None => start(world, by),
            }
            None
        }),
        At::Handler if world.faults.with_steps && world.attempts[by].step.is_none() => {
            step(next, world, by, "runs its step", |world| {
                world.ran_again |= world.attempts[by].after_save;
                world.attempts[by].at = At::Ran;
                None
            });
        }
        At::Ran => step(next, world, by, "saves its step", |world| {
            let (saved, call) = rules.save(world, by);
            world.attempts[by].step = saved.then_some(by);
            // Without its claim the handler stops.
            world.attempts[by].at = if saved { At::Handler } else { At::Failed };
            Some(call)
        }),
        At::Handler => {
            let mut waits = false;
            step(next, world, by, "writes its payment and its response", |world| {
                waits = rules.insert(world, by).is_none();
                None
            });
            if waits {
                next.pop();
            }
            step(next, world, by, "says no", |world| {
                world.attempts[by].at = At::Said;
                None
            });
            step(next, world, by, "fails", |world| {
                world.attempts[by].at = At::Failed;
                None
            });
        }
        At::Wrote => {
            step(next, world, by, "commits", |world| {
                Rules::commit(world, by);
                world.attempts[by].at = At::Storing(Reply::Paid(by));
                None
            });
            step(next, world, by, "rolls back", |world| {
                world.attempts[by].tx = Tx::None;
                world.attempts[by].at = At::Failed;
                None
            });
        }
        At::Unknown if rules.settling_waits && world.is_being_written() => {}
        At::Unknown => step(next, world, by, "finds out what became of its commit", |world| {
            if let Some(row) = world.row {
                rules.learn(world, by, row);
            } else {
                world.attempts[by].told_not_committed = true;
                world.attempts[by].at = At::Failed;
            }
            None
        }),
        At::Said if rules.recovered_no_is_sealed && world.attempts[by].recovering => {
            // The unique index waits for a transaction that has written the key's row.
            if !world.is_being_written() {
                step(next, world, by, "writes its no into the journal", |world| {
                    let row = *world.row.get_or_insert(Reply::Said(by));
                    world.note(row);
                    rules.learn(world, by, row);
                    None
                });
            }
        }
        At::Said | At::Failed => step(next, world, by, "reads the journal after its run", |world| {
            world.attempts[by].at = match world.row.filter(|_| rules.read_after_a_run_without_commit) {
                Some(row) => {
                    rules.learn(world, by, row);
                    return None;
                }
                None if world.attempts[by].at == At::Said => At::Storing(Reply::Said(by)),
                None => At::Freeing,
            };
            None
        }),
        At::Freeing => step(next, world, by, "frees the key", |world| {
            Rules::answer(world, by, Answer::Error);
            Some(Rules::release(world, by))
        }),
        At::Storing(reply) => step(next, world, by, "stores its answer and sends it", |world| {
            Rules::answer(world, by, Answer::Reply(reply));
            Some(rules.complete(world, by, reply))
        }),
        At::Refusing(reply) => step(next, world, by, "stores the other request's answer and is refused", |world| {
            Rules::answer(world, by, Answer::KeyReused);
            Some(rules.complete(world, by, reply))
        }),
        At::Answered(_) | At::Dead => {}
    }
}

/// What happens to an attempt, and its heartbeat.
fn faults(rules: Rules, world: &World, by: usize, next: &mut Vec<Next>) {
    let attempt = world.attempts[by];
    if attempt.tx == Tx::Orphan {
        step(next, world, by, "and its lost commit: it arrives", |world| {
            Rules::commit(world, by);
            None
        });
        step(next, world, by, "and its lost commit: it never arrives", |world| {
            world.attempts[by].tx = Tx::None;
            None
        });
    }
    if matches!(attempt.at, At::Answered(_) | At::Dead) {
        return;
    }
    if attempt.at != At::Start {
        let renewed = {
            let mut world = world.clone();
            let call = Rules::renew(&mut world, by);
            Next { by: Some(by), what: "renews its lease", world, call: Some(call) }
        };
        if renewed.world != *world {
            next.push(renewed);
        }
    }
    if attempt.at == At::Wrote && world.faults.lost_commits > 0 {
        step(next, world, by, "commits, and the connection breaks", |world| {
            world.faults.lost_commits -= 1;
            world.attempts[by].tx = Tx::Orphan;
            world.attempts[by].at = At::Unknown;
            None
        });
    }
    if world.faults.lost_replies > 0 {
        let call = |world: &mut World| match attempt.at {
            At::Start => Some(rules.claim(world, by).1),
            At::Storing(reply) | At::Refusing(reply) => Some(rules.complete(world, by, reply)),
            At::Freeing => Some(Rules::release(world, by)),
            At::Ran => Some(rules.save(world, by).1),
            _ => None,
        };
        let mut after = world.clone();
        if let Some(call) = call(&mut after).filter(|_| after != *world) {
            after.faults.lost_replies -= 1;
            next.push(Next { by: Some(by), what: "does not hear the store's answer", world: after, call: Some(call) });
        }
    }
    if world.faults.crashes > 0 {
        step(next, world, by, "crashes", |world| {
            world.faults.crashes -= 1;
            world.attempts[by].at = At::Dead;
            if world.attempts[by].tx == Tx::Open {
                world.attempts[by].tx = Tx::None;
            }
            None
        });
    }
}

fn start(world: &mut World, by: usize) {
    world.attempts[by].at = At::Handler;
    world.attempts[by].late = world.row.is_some();
}

fn step(
    next: &mut Vec<Next>,
    world: &World,
    by: impl Into<Option<usize>>,
    what: &'static str,
    change: impl FnOnce(&mut World) -> Option<Call>,
) {
    let mut world = world.clone();
    let call = change(&mut world);
    next.push(Next { by: by.into(), what, world, call });
}
