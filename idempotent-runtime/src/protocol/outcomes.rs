//! The answers of a store.

use std::{fmt, time::Duration};

use bytes::Bytes;

use super::Fingerprint;

/// The answer to a claim. `Debug` prints only the length of a record.
#[derive(Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// This attempt has the key.
    Acquired(Acquired),
    /// Another attempt at the same request holds the lease.
    Running {
        /// The rest of its lease.
        left: Duration,
    },
    /// An earlier attempt died, and [`Takeover::Refuse`](crate::Takeover::Refuse) forbids another run.
    Died,
    /// The request is finished. This is the record that its attempt has stored.
    Done(Bytes),
    /// The key was used for a request with another fingerprint.
    OtherRequest,
    /// The key has a record that cannot be read or would never expire. The handler must not run.
    Unreadable,
}

/// What a store returns with a claim. `Debug` prints only the length of the steps.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Acquired {
    /// The fencing token: larger than that of every earlier attempt at the key.
    pub fence: u64,
    /// An earlier attempt died, and its effects are unknown.
    pub recovering: bool,
    /// The steps that earlier attempts saved. Empty if there are none.
    pub steps: Bytes,
}

impl Acquired {
    /// A claim without saved steps.
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

/// The answer to saving steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveOutcome {
    /// The steps are saved.
    Saved,
    /// Another attempt has the key, or this attempt has completed. Nothing was written.
    Lost,
}

/// The answer to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewOutcome {
    /// The lease has started again.
    Renewed,
    /// The store had lost the claim and has created it again.
    Recreated,
    /// This attempt has completed, so there is nothing to renew.
    Completed,
    /// Another attempt has the key.
    Lost,
}

/// The answer to a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// The record is stored.
    Stored,
    /// This attempt had already stored its record. An earlier answer was lost.
    AlreadyStored,
    /// Another attempt has the key. Nothing was written.
    Lost,
}

/// The answer to giving up a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The claim has ended.
    Ended,
    /// The key has no running claim of this token.
    NotOurs,
}

/// The answer to forgetting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetOutcome {
    /// The record was deleted. The next attempt is a first attempt.
    Forgotten,
    /// The key has no record.
    Absent,
    /// An attempt holds the lease, so its record was kept.
    Running {
        /// The rest of the lease.
        left: Duration,
    },
}

/// The answer to a look-up. `Debug` prints only the length of a record.
#[derive(Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The key has no record.
    Absent,
    /// An attempt has claimed it.
    Running {
        /// The fingerprint of the attempt's request.
        fingerprint: Fingerprint,
        /// The rest of its lease. Zero when the attempt died.
        left: Duration,
    },
    /// The request is finished.
    Done {
        /// The fingerprint of the request.
        fingerprint: Fingerprint,
        /// What its attempt has stored.
        record: Bytes,
    },
    /// The key has a record that cannot be read or would never expire.
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

/// Why a store did not do what it was asked. No variant contains a key, a body or a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There was no answer in time. It is unknown whether the call had its effect.
    #[error("the store did not answer in time")]
    Timeout,
    /// There is no connection, or it broke. It is unknown whether the call had its effect.
    #[error("the store cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store is known to be down, so nothing was sent. The call had no effect.
    #[error("the store is down")]
    Down(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store does not allow the call, because a permission or a table is missing. Only a person can add it. This
    /// does not count as an outage: no handler runs unprotected because of it.
    #[error("the store does not allow the call")]
    Forbidden(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store has no room for another claim. Nothing was written, and no live record was dropped.
    #[error("the store is full: {0}")]
    Full(&'static str),
    /// The store answered that it cannot do this now, for example because it is a replica.
    #[error("the store refused the call")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// A word for the kind of error, for a metric's label.
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
