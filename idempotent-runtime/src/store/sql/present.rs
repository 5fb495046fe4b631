//! Reads a row, and decides what it means for an attempt.

use std::time::Duration;

use bytes::Bytes;

use super::statements::{DONE, RECOVERING, RUNNING};
use crate::{
    config::policy::Takeover,
    store::{Acquired, ClaimOutcome, ClaimRequest, Fingerprint, Lookup, StoreError, Token},
};

/// The columns of a row, in order: token, fingerprint, fence, state, milliseconds until the lease ends, milliseconds
/// until the row expires, and the bytes of its record or of its steps.
pub(super) type Columns = (Vec<u8>, Vec<u8>, i64, i64, Option<i64>, i64, Option<Vec<u8>>);

/// The row of a key.
pub(super) enum Present {
    /// There is no row, or it has expired.
    Nothing,
    /// There is a row that this store did not write.
    Unreadable,
    Row(Row),
}

pub(super) struct Row {
    pub(super) token: Token,
    fingerprint: Fingerprint,
    fence: u64,
    state: State,
    kept: Duration,
}

enum State {
    Running { left: Duration, recovering: bool, steps: Bytes },
    Done(Bytes),
}

/// A committed response, and the attempt that it belongs to.
pub(crate) struct Finished {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) token: Token,
    pub(crate) record: Bytes,
    /// The time until it expires.
    pub(crate) left: Duration,
}

/// What a row means for an attempt that wants the key.
pub(super) enum Verdict {
    Answer(ClaimOutcome),
    /// The key is free.
    Free,
    /// An earlier attempt at the same request died, and this one may run.
    Dead,
}

impl Present {
    pub(super) fn read(columns: Option<Columns>) -> Self {
        match columns {
            None => Self::Nothing,
            Some((.., kept, _)) if kept <= 0 => Self::Nothing,
            Some(columns) => Row::read(columns).map_or(Self::Unreadable, Self::Row),
        }
    }

    pub(super) fn judge(self, attempt: &ClaimRequest) -> Verdict {
        let row = match self {
            Self::Nothing => return Verdict::Free,
            Self::Unreadable => return Verdict::Answer(ClaimOutcome::Unreadable),
            Self::Row(row) => row,
        };
        let ours = row.token == attempt.token;
        Verdict::Answer(match row.state {
            _ if !ours && row.fingerprint != attempt.fingerprint => ClaimOutcome::OtherRequest,
            State::Done(record) => ClaimOutcome::Done(record),
            State::Running { recovering, steps, .. } if ours => {
                ClaimOutcome::Acquired(Acquired { fence: row.fence, recovering, steps })
            }
            State::Running { left, .. } if !left.is_zero() => ClaimOutcome::Running { left },
            State::Running { .. } if attempt.takeover == Takeover::Refuse => ClaimOutcome::Died,
            State::Running { .. } => return Verdict::Dead,
        })
    }

    /// The response, if there is one.
    pub(super) fn finished(self) -> Result<Option<Finished>, StoreError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Row(row) => Ok(row.finished()),
            Self::Unreadable => Err(StoreError::Refused("the key has a row that this store did not write".into())),
        }
    }

    /// The steps of this attempt, if it has the key.
    pub(super) fn steps_of(self, attempt: &ClaimRequest) -> Option<Bytes> {
        match self {
            Self::Row(Row { token, state: State::Running { steps, .. }, .. }) if token == attempt.token => Some(steps),
            _ => None,
        }
    }

    pub(super) fn lookup(self) -> Lookup {
        match self {
            Self::Nothing => Lookup::Absent,
            Self::Unreadable => Lookup::Unreadable,
            Self::Row(Row { fingerprint, state: State::Done(record), .. }) => Lookup::Done { fingerprint, record },
            Self::Row(Row { fingerprint, state: State::Running { left, .. }, .. }) => {
                Lookup::Running { fingerprint, left }
            }
        }
    }
}

impl Row {
    fn read((token, fingerprint, fence, state, lease, kept, bytes): Columns) -> Option<Self> {
        let state = match state {
            RUNNING | RECOVERING => State::Running {
                left: Duration::from_millis(u64::try_from(lease?).unwrap_or(0)),
                recovering: state == RECOVERING,
                steps: bytes.unwrap_or_default().into(),
            },
            DONE => State::Done(bytes.unwrap_or_default().into()),
            _ => return None,
        };
        Some(Self {
            token: Token::from_bytes(token.try_into().ok()?),
            fingerprint: Fingerprint::from_bytes(fingerprint.try_into().ok()?),
            fence: fence.try_into().ok()?,
            state,
            kept: Duration::from_millis(u64::try_from(kept).unwrap_or(0)),
        })
    }

    fn finished(self) -> Option<Finished> {
        let Self { token, fingerprint, kept: left, .. } = self;
        match self.state {
            State::Done(record) => Some(Finished { fingerprint, token, record, left }),
            State::Running { .. } => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }
}
