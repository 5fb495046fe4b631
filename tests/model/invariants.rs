//! What must hold in every state.

use crate::{
    rules::Rules,
    steps,
    world::{ATTEMPTS, Answer, At, LAST, Record, Reply, World, request},
};

/// The first invariant that a state breaks.
pub(crate) fn broken(rules: Rules, world: &World) -> Option<&'static str> {
    if world.effects.count_ones() > 1 {
        return Some("one committed effect per key");
    }
    if !world.data_lost && world.recorded[0].is_some() && world.recorded[1].is_some() {
        return Some("one recorded response per key, unless the store loses data");
    }
    if !world.data_lost && world.ran_again {
        return Some("a saved step does not run again, unless the store loses data");
    }
    if !world.data_lost && world.overwritten {
        return Some("a saved step keeps its value, unless the store loses data");
    }
    for (by, attempt) in world.attempts.iter().enumerate().take(ATTEMPTS) {
        if attempt.told_not_committed && world.effects & (1 << by) != 0 {
            return Some("what was said not to be committed never is");
        }
        if attempt.late && attempt.recovering {
            return Some("no attempt after a dead one runs when its predecessor has committed");
        }
        match attempt.at {
            At::Answered(Answer::Reply(reply)) if reply.request() != request(by) => {
                return Some("no response of one request to another");
            }
            At::Answered(Answer::Reply(Reply::Paid(payer))) if world.effects & (1 << payer) == 0 => {
                return Some("no success without its effect");
            }
            At::Answered(Answer::Reply(reply)) if attempt.late && Some(reply) != world.row => {
                return Some("a run that came after the commit answers with what was committed");
            }
            At::Answered(Answer::Error) if attempt.late => {
                return Some("a run that came after the commit answers with what was committed");
            }
            _ => {}
        }
    }
    if world.is_being_written() { None } else { stuck(rules, world) }
}

/// All other attempts stand still for ever, the lease ends, and the client retries. Returns what is wrong with its
/// answer.
fn stuck(rules: Rules, world: &World) -> Option<&'static str> {
    let mut world = world.clone();
    if let Record::Running { over, .. } = &mut world.record {
        *over = true;
    }
    for _ in 0..10 {
        let mut next = Vec::new();
        steps::attempt(rules, &world, LAST, &mut next);
        // The first of its choices is always the one that succeeds.
        let Some(first) = next.into_iter().next() else { break };
        world = first.world;
    }
    if world.effects.count_ones() > 1 {
        return Some("one committed effect per key");
    }
    let right = match (world.attempts[LAST].at, world.row) {
        (At::Answered(Answer::Reply(reply)), Some(row)) => reply == row || world.data_lost,
        // The reply is only in the store: a first attempt gave a final answer without an effect.
        (At::Answered(Answer::Reply(reply)), None) => matches!(reply, Reply::Said(_)),
        (At::Answered(Answer::KeyReused), _) => match world.record {
            Record::Absent => false,
            Record::Running { request, .. } | Record::Done { request, .. } => request != 0,
        },
        _ => false,
    };
    (!right).then_some("a retry after the lease is answered, with what was committed if anything was")
}
