//! What a store answers.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::Fingerprint;

/// What a store answers to a claim. `Debug` shows of a record only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The key is this attempt's.
    Acquired(Acquired),
    /// Another attempt at the same request holds the lease.
    Running {
        /// What is left of its lease.
        left: Duration,
    },
    /// An earlier attempt died, and [`Takeover::Refuse`](crate::Takeover::Refuse) forbids to run again.
    Died,
    /// The request is finished; this is the record that [`Store::complete`](crate::Store::complete) was given.
    Done(Bytes),
    /// The key belongs to a request with another fingerprint.
    OtherRequest,
    /// There is a record, but it makes no sense or would never expire. Nothing may run.
    Unreadable,
}

/// What comes with a key. `Debug` shows of the steps only how long they are.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acquired {
    /// Larger than that of every earlier attempt at the key.
    pub fence: u64,
    /// An earlier attempt died, and what it did is unknown.
    pub recovering: bool,
    /// What earlier attempts saved with [`Store::save_steps`](crate::Store::save_steps); empty if nothing.
    pub steps: Bytes,
}

impl Acquired {
    /// A key without anything that was saved before.
    #[must_use]
    pub const fn new(fence: u64, recovering: bool) -> Self {
        Self { fence, recovering, steps: Bytes::new() }
    }
}

impl fmt::Debug for Acquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fence, recovering, steps } = self;
        let mut shown = f.debug_struct("Acquired");
        shown.field("fence", fence).field("recovering", recovering).field("steps", &steps.len()).finish()
    }
}

/// What a store answers when steps are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    /// They are kept.
    Saved,
    /// The key is another attempt's, or this attempt has completed: nothing was written.
    Lost,
}

/// What a store answers to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewOutcome {
    /// The lease starts anew.
    Renewed,
    /// The store had lost the claim; it stands again.
    Recreated,
    /// This attempt has completed already; there is nothing to renew.
    Completed,
    /// The key is another's: this attempt is fenced off.
    Lost,
}

/// What a store answers to a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// The record is stored.
    Stored,
    /// This attempt had stored its record before; an answer was lost on the way.
    AlreadyStored,
    /// The key is another's: nothing was written.
    Lost,
}

/// What a store answers when a claim is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The claim is ended.
    Ended,
    /// There was no running claim of this token.
    NotOurs,
}

/// What a store answers when it is told to forget a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetOutcome {
    /// The record is gone; the next attempt is as good as the first.
    Forgotten,
    /// Nothing was known of the key.
    Absent,
    /// An attempt holds the lease, so its record stays.
    Running {
        /// What is left of the lease.
        left: Duration,
    },
}

/// What a look at a key shows. `Debug` shows of a record only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing is known of the key.
    Absent,
    /// An attempt has claimed it.
    Running {
        /// What the attempt's request asks for.
        fingerprint: Fingerprint,
        /// What is left of its lease; zero when the attempt died.
        left: Duration,
    },
    /// The request is finished.
    Done {
        /// What the request asked for.
        fingerprint: Fingerprint,
        /// The record that [`Store::complete`](crate::Store::complete) was given.
        record: Bytes,
    },
    /// There is a record, but it makes no sense or would never expire.
    Unreadable,
}

impl fmt::Debug for ClaimOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquired(acquired) => fmt::Debug::fmt(acquired, f),
            Self::Running { left } => f.debug_struct("Running").field("left", left).finish(),
            Self::Died => f.write_str("Died"),
            Self::Done(record) => write!(f, "Done({} bytes)", record.len()),
            Self::OtherRequest => f.write_str("OtherRequest"),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Running { left, .. } => f.debug_struct("Running").field("left", left).finish_non_exhaustive(),
            Self::Done { record, .. } => write!(f, "Done({} bytes)", record.len()),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

/// Why a store could not do what it was asked. No variant carries a key, a body or a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No answer in time. Whether the call had its effect is unknown.
    #[error("the store did not answer in time")]
    Timeout,
    /// No connection, or it broke. Whether the call had its effect is unknown.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store is known to be down, so nothing was sent: the call had no effect.
    #[error("the store is down")]
    Down(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store does not allow the call: a missing permission or a missing table, which only a person can add. It is no
    /// outage, so nothing runs unprotected because of it.
    #[error("the store does not allow the call")]
    Forbidden(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room for another claim; nothing was written, and nothing that is live was forgotten.
    #[error("the store is full: {0}")]
    Full(&'static str),
    /// The store answered that it will not do this now, for example because it is a replica.
    #[error("the store refused the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// The error in one word, for a metric's label.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Down(_) => "down",
            Self::Forbidden(_) => "forbidden",
            Self::Full(_) => "full",
            Self::Refused(_) => "refused",
        }
    }
}
