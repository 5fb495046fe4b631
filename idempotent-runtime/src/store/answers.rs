//! What a store answers.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::Fingerprint;

/// What a store answers to a claim. `Debug` shows of a record only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The key is this attempt's.
    Yours {
        /// Larger than that of every earlier attempt at the key.
        fence: u64,
        /// An earlier attempt died, and what it did is unknown.
        recovering: bool,
    },
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

/// What a store answers to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
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
pub enum Completion {
    /// The record is stored.
    Stored,
    /// This attempt had stored its record before; an answer was lost on the way.
    AlreadyStored,
    /// The key is another's: nothing was written.
    Lost,
}

/// What a store answers when a claim is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The claim is ended.
    Ended,
    /// There was no running claim of this token.
    NotOurs,
}

/// What a store answers when it is told to forget a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
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
pub enum Sighting {
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

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yours { fence, recovering } => {
                f.debug_struct("Yours").field("fence", fence).field("recovering", recovering).finish()
            }
            Self::Running { left } => f.debug_struct("Running").field("left", left).finish(),
            Self::Died => f.write_str("Died"),
            Self::Done(record) => write!(f, "Done({} bytes)", record.len()),
            Self::OtherRequest => f.write_str("OtherRequest"),
            Self::Unreadable => f.write_str("Unreadable"),
        }
    }
}

impl fmt::Debug for Sighting {
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
    /// There is no room for another claim; nothing was written, and nothing that is live was forgotten.
    #[error("the store is full: {0}")]
    Full(&'static str),
    /// The store answered that it will not do this now, for example because it is a replica.
    #[error("the store refused the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}
