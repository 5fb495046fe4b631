//! Rows of the table: writing one for an attempt, and reading one.

use std::time::Duration;

use bytes::Bytes;

use super::{Row, Unanswered};
use crate::{
    sql::database::{Found, Values},
    store::{ClaimRequest, Fingerprint, Token},
};

/// The longest time, in milliseconds. A database can still add it to a date.
const LONGEST: i64 = 100_000_000_000_000;

pub(crate) fn values<'a>(attempt: &'a ClaimRequest, key: &'a [u8; 32], fence: u64, record: &'a [u8]) -> Values<'a> {
    Values {
        key,
        fingerprint: attempt.fingerprint.as_bytes(),
        token: attempt.token.as_bytes(),
        fence: i64::try_from(fence).unwrap_or(i64::MAX),
        record,
        ttl_millis: i64::try_from(attempt.ttl.as_millis()).unwrap_or(i64::MAX).min(LONGEST),
    }
}

/// Makes a [`Row`] from the columns, if they are valid.
pub(crate) fn row((fingerprint, token, record, left): Found) -> Result<Row, Unanswered> {
    let unreadable = |_| Unanswered::Unreadable("a fingerprint or token in the table has the wrong length".into());
    // A statement reads the clock twice. The difference is at most a moment.
    if left < -1_000 {
        return Err(Unanswered::Unreadable("an expiry in the table is not a time".into()));
    }
    Ok(Row {
        fingerprint: Fingerprint::from_bytes(fingerprint.try_into().map_err(unreadable)?),
        token: Token::from_bytes(token.try_into().map_err(unreadable)?),
        record: Bytes::from(record),
        left: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
    })
}
