//! A row of the table: its columns, and the record that they are.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::statements::{DONE, FREED, RECOVERING, RUNNING};
use crate::{
    protocol::{Change, Fingerprint, Head, Seen, State, Token},
    store::StoreKey,
};

/// The name of a key in the table: always 32 bytes. Somebody who can read the database cannot use it as a key.
pub(crate) fn digest(key: &StoreKey) -> [u8; 32] {
    Sha256::digest(key.as_str().as_bytes()).into()
}

/// The columns of a row, in order: whether the statement has written it, token, change, state, fence, lease and kept in
/// milliseconds, fingerprint, the milliseconds until the row expires, and its record or its steps.
pub(super) type Columns = (i64, Vec<u8>, i64, i64, i64, i64, i64, Vec<u8>, i64, Option<Vec<u8>>);

/// The fence that a statement has written. `None` if it wrote nothing and found this row.
pub(super) fn written(columns: &Columns) -> Option<u64> {
    let (wrote, .., fence, _, _, _, _, _) = columns;
    (*wrote == 1).then(|| u64::try_from(*fence).unwrap_or(0))
}

pub(super) fn seen(columns: Option<Columns>) -> Seen {
    match columns {
        Some((.., left, _)) if left <= 0 => Seen::Absent,
        Some(columns) => record(columns).unwrap_or(Seen::Unreadable),
        None => Seen::Absent,
    }
}

fn record((_, token, change, state, fence, lease, kept, fingerprint, left, bytes): Columns) -> Option<Seen> {
    let state = match state {
        RUNNING => State::Running { recovering: false },
        RECOVERING => State::Running { recovering: true },
        DONE => State::Done,
        FREED => State::Freed,
        _ => return None,
    };
    let millis = |number: i64| u64::try_from(number).map(Duration::from_millis).ok();
    let head = Head {
        token: Token::from_bytes(token.try_into().ok()?),
        change: Change::new(change.try_into().ok()?),
        state,
        fence: fence.try_into().ok()?,
        lease: millis(lease)?,
        kept: millis(kept)?,
        fingerprint: Fingerprint::from_bytes(fingerprint.try_into().ok()?),
    };
    Some(Seen::Record { head, body: Some(bytes.unwrap_or_default().into()), left: millis(left) })
}

pub(super) fn state_number(state: State) -> i64 {
    match state {
        State::Running { recovering: false } => RUNNING,
        State::Running { recovering: true } => RECOVERING,
        State::Done => DONE,
        State::Freed => FREED,
    }
}
