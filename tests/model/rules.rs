//! What a store and a journal do: the rules of the protocol. A test can switch off a rule to see what it is for.

use crate::world::{Answer, At, Record, Reply, Tx, World, request};

/// Every rule is on in the protocol; each mutation switches one off.
#[allow(clippy::struct_excessive_bools)] // each is a rule
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) token_check: bool,
    pub(crate) fingerprint_check: bool,
    pub(crate) unique_index: bool,
    pub(crate) read_after_a_run_without_commit: bool,
    pub(crate) read_before_a_recovered_run: bool,
    pub(crate) settling_waits: bool,
    pub(crate) recovered_no_is_sealed: bool,
    pub(crate) takeover_keeps_steps: bool,
    pub(crate) saving_checks_the_token: bool,
    pub(crate) saved_steps_outlive_a_release: bool,
}

pub(crate) const PROTOCOL: Rules = Rules {
    token_check: true,
    fingerprint_check: true,
    unique_index: true,
    read_after_a_run_without_commit: true,
    read_before_a_recovered_run: true,
    settling_waits: true,
    recovered_no_is_sealed: true,
    takeover_keeps_steps: true,
    saving_checks_the_token: true,
    saved_steps_outlive_a_release: true,
};

/// A call to the store with the answer that it has to give, or an event in the store. The replay on real stores uses
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Claim {
        by: usize,
        expect: Claimed,
    },
    /// With the step that the attempt knows to be saved.
    Renew {
        by: usize,
        step: Option<usize>,
        expect: Renewed,
    },
    Save {
        by: usize,
        saved: bool,
    },
    Complete {
        by: usize,
        reply: Reply,
        expect: Completed,
    },
    Release {
        by: usize,
        ended: bool,
    },
    Lapse,
    Lose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Yours { recovering: bool, step: Option<usize> },
    Running,
    Done(Reply),
    OtherRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    Again,
    Recreated,
    Completed,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    Stored,
    AlreadyStored,
    Lost,
}

impl Rules {
    pub(crate) fn claim(self, world: &mut World, by: usize) -> (Claimed, Call) {
        let asked = request(by);
        let answer = match world.record {
            Record::Absent => Claimed::Yours { recovering: false, step: None },
            Record::Running { by: holder, recovering, step, .. } if holder == by => Claimed::Yours { recovering, step },
            Record::Running { request, .. } | Record::Done { request, .. }
                if self.fingerprint_check && request != asked =>
            {
                Claimed::OtherRequest
            }
            Record::Done { reply, .. } => Claimed::Done(reply),
            Record::Running { over: false, .. } => Claimed::Running,
            Record::Running { over: true, step, .. } => {
                Claimed::Yours { recovering: true, step: step.filter(|_| self.takeover_keeps_steps) }
            }
        };
        let ours = matches!(world.record, Record::Running { by: holder, .. } if holder == by);
        if let Claimed::Yours { recovering, step } = answer
            && !ours
        {
            world.attempts[by].after_save = world.is_saved(asked);
            world.record = Record::Running { by, request: asked, over: false, recovering, step };
        }
        (answer, Call::Claim { by, expect: answer })
    }

    pub(crate) fn renew(world: &mut World, by: usize) -> Call {
        let step = world.attempts[by].step;
        let expect = match &mut world.record {
            Record::Absent => {
                let recovering = step.is_some();
                world.record = Record::Running { by, request: request(by), over: false, recovering, step };
                Renewed::Recreated
            }
            Record::Running { by: holder, over, .. } if *holder == by => {
                *over = false;
                Renewed::Again
            }
            Record::Done { by: holder, .. } if *holder == by => Renewed::Completed,
            _ => Renewed::Lost,
        };
        Call::Renew { by, step, expect }
    }

    /// Saves the attempt's step with its claim. From then on the claim counts as recovering.
    pub(crate) fn save(self, world: &mut World, by: usize) -> (bool, Call) {
        let saved = match &mut world.record {
            Record::Absent => {
                world.record =
                    Record::Running { by, request: request(by), over: false, recovering: true, step: Some(by) };
                true
            }
            Record::Running { by: holder, recovering, step, .. } if *holder == by || !self.saving_checks_the_token => {
                *recovering |= self.saved_steps_outlive_a_release;
                *step = Some(by);
                true
            }
            _ => false,
        };
        if saved {
            world.note_step(request(by), by);
        }
        (saved, Call::Save { by, saved })
    }

    pub(crate) fn complete(self, world: &mut World, by: usize, reply: Reply) -> Call {
        let expect = match world.record {
            Record::Done { by: holder, .. } if holder == by => Completed::AlreadyStored,
            Record::Running { by: holder, .. } | Record::Done { by: holder, .. }
                if self.token_check && holder != by =>
            {
                Completed::Lost
            }
            _ => {
                world.record = Record::Done { by, request: reply.request(), reply };
                world.note(reply);
                Completed::Stored
            }
        };
        Call::Complete { by, reply, expect }
    }

    pub(crate) fn release(world: &mut World, by: usize) -> Call {
        let ended = match &mut world.record {
            // It is still unknown what the dead attempt did, and the next attempt has to be told.
            Record::Running { by: holder, recovering: true, over, .. } if *holder == by => {
                *over = true;
                true
            }
            Record::Running { by: holder, .. } if *holder == by => {
                world.record = Record::Absent;
                true
            }
            _ => false,
        };
        Call::Release { by, ended }
    }

    /// Writes the effect and the key's row. `None`: another transaction has the key and is open, so this one waits.
    pub(crate) fn insert(self, world: &mut World, by: usize) -> Option<()> {
        if self.unique_index {
            if let Some(row) = world.row {
                self.learn(world, by, row);
                return Some(());
            }
            if world.is_being_written() {
                return None;
            }
        }
        world.attempts[by].tx = Tx::Open;
        world.attempts[by].at = At::Wrote;
        Some(())
    }

    pub(crate) fn commit(world: &mut World, by: usize) {
        world.attempts[by].tx = Tx::None;
        world.effects |= 1 << by;
        world.row.get_or_insert(Reply::Paid(by));
        world.note(Reply::Paid(by));
    }

    /// The journal has a row: the row decides the answer, whatever else the attempt would have answered.
    pub(crate) fn learn(self, world: &mut World, by: usize, row: Reply) {
        let other = self.fingerprint_check && row.request() != request(by);
        world.attempts[by].at = if other { At::Refusing(row) } else { At::Storing(row) };
    }

    pub(crate) fn answer(world: &mut World, by: usize, answer: Answer) {
        world.attempts[by].at = At::Answered(answer);
    }
}
