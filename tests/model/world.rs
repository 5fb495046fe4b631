//! A world of one key: the store's record, the journal's row, and a few attempts at the handler.

/// Attempts 0 and 1 are a request and its retry. Attempt 2 is another request under the same key. Attempt 3 is the last
/// retry: it shows whether a client still gets an answer.
pub(crate) const ATTEMPTS: usize = 3;
pub(crate) const LAST: usize = 3;

/// What an attempt's request asks for.
pub(crate) const fn request(attempt: usize) -> u8 {
    if attempt == 2 { 1 } else { 0 }
}

/// A response, with the attempt whose run made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    /// It was committed with its effect.
    Paid(usize),
    /// A final answer without an effect: the handler looked and said no.
    Said(usize),
}

impl Reply {
    pub(crate) const fn request(self) -> u8 {
        match self {
            Self::Paid(attempt) | Self::Said(attempt) => request(attempt),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Record {
    Absent,
    /// `step` is the value of the handler's step: the attempt that ran it.
    Running {
        by: usize,
        request: u8,
        over: bool,
        recovering: bool,
        step: Option<usize>,
    },
    Done {
        by: usize,
        request: u8,
        reply: Reply,
    },
}

/// An attempt's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tx {
    None,
    /// It has written the effect and the key's row, and its process holds it open.
    Open,
    /// Its COMMIT is on the way, and its process will not get the answer.
    Orphan,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Before its claim, or before it got the answer to its claim.
    Start,
    /// It took over from a dead attempt and has not read the journal yet.
    TookOver,
    Handler,
    /// Its step has run, and is not saved.
    Ran,
    Wrote,
    /// COMMIT was sent and the connection broke.
    Unknown,
    /// The handler gave a final answer without a transaction.
    Said,
    /// The handler failed or panicked, without a commit.
    Failed,
    /// The journal has no row, and the key is to be freed.
    Freeing,
    /// This reply is to be stored and sent.
    Storing(Reply),
    /// The journal's row belongs to another request. The row's reply is to be stored, and this attempt is refused.
    Refusing(Reply),
    Answered(Answer),
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Reply(Reply),
    InFlight,
    KeyReused,
    /// 5xx: the key is free again.
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is a separate fact
pub(crate) struct Attempt {
    pub(crate) at: At,
    pub(crate) tx: Tx,
    pub(crate) recovering: bool,
    /// The value of its step, which came with the claim or was saved by this attempt.
    pub(crate) step: Option<usize>,
    /// A step of the request was saved before this attempt had the key.
    pub(crate) after_save: bool,
    /// The key already had a row when its handler started.
    pub(crate) late: bool,
    /// The handler was told that its transaction was not committed.
    pub(crate) told_not_committed: bool,
}

/// How often each fault may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) lost_replies: u8,
    pub(crate) lost_commits: u8,
    /// A lease that ends without a heartbeat: its process was paused, or is dead.
    pub(crate) lapses: u8,
    /// Handlers have a step before their transaction. It never changes.
    pub(crate) with_steps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) record: Record,
    pub(crate) row: Option<Reply>,
    /// One bit for each attempt whose effect is committed.
    pub(crate) effects: u8,
    /// Every reply that was ever recorded, in the store or in the journal.
    pub(crate) recorded: [Option<Reply>; 2],
    pub(crate) data_lost: bool,
    /// For each request the value of its step that was saved first.
    pub(crate) saved: [Option<usize>; 2],
    /// A step ran again after it was saved.
    pub(crate) ran_again: bool,
    /// Another value was saved over the first one.
    pub(crate) overwritten: bool,
    pub(crate) attempts: [Attempt; ATTEMPTS + 1],
    pub(crate) faults: Faults,
}

impl World {
    pub(crate) fn new(faults: Faults) -> Self {
        let attempt = Attempt {
            at: At::Start,
            tx: Tx::None,
            recovering: false,
            step: None,
            after_save: false,
            late: false,
            told_not_committed: false,
        };
        Self {
            record: Record::Absent,
            row: None,
            effects: 0,
            recorded: [None; 2],
            data_lost: false,
            saved: [None; 2],
            ran_again: false,
            overwritten: false,
            attempts: [attempt; ATTEMPTS + 1],
            faults,
        }
    }

    /// Notes that a step's value is in the store.
    pub(crate) fn note_step(&mut self, of: u8, value: usize) {
        let first = &mut self.saved[usize::from(of)];
        self.overwritten |= *first.get_or_insert(value) != value;
    }

    pub(crate) fn is_saved(&self, request: u8) -> bool {
        self.saved[usize::from(request)].is_some()
    }

    pub(crate) fn note(&mut self, reply: Reply) {
        if !self.recorded.contains(&Some(reply)) {
            // Two replies already break the promise, so a third one need not be kept.
            let place = self.recorded.iter().position(Option::is_none).unwrap_or(1);
            self.recorded[place] = Some(reply);
        }
        self.recorded.sort_unstable();
    }

    /// Whether a transaction has written the key's row and is neither committed nor rolled back.
    pub(crate) fn is_being_written(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.tx != Tx::None)
    }
}
