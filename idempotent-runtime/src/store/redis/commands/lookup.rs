//! Looks up a key, and forgets one.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::word_first;
use crate::store::{
    ForgetOutcome, Lookup, StoreError, StoreKey,
    redis::{
        cause::Cause,
        header::{Header, Tag},
        scripts,
        supervisor::Call,
    },
};

/// Reads the record of a key.
pub(in super::super) async fn lookup(call: Call<'_>, key: &StoreKey) -> Result<Lookup, StoreError> {
    Ok(match read(call, key).await? {
        Found::Nothing => Lookup::Absent,
        Found::Unreadable => Lookup::Unreadable,
        Found::Record(Header { tag: Tag::Done, fingerprint, .. }, record, _) => Lookup::Done { fingerprint, record },
        Found::Record(Header { fingerprint, .. }, _, left) => Lookup::Running { fingerprint, left },
    })
}

/// Deletes the record of a key, unless an attempt holds its lease.
pub(in super::super) async fn forget(call: Call<'_>, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
    let answer = scripts::FORGET.run(call, key.as_str(), &[]).await?;
    match word_first(&answer)? {
        (b"forgotten", []) => Ok(ForgetOutcome::Forgotten),
        (b"absent", []) => Ok(ForgetOutcome::Absent),
        (b"running", [Value::Int(left)]) => {
            Ok(ForgetOutcome::Running { left: Duration::from_millis(left.unsigned_abs()) })
        }
        _ => Err(Cause::Unexpected.into()),
    }
}

/// The record of a key, and the rest of its lease.
pub(super) enum Found {
    Nothing,
    Unreadable,
    Record(Header, Bytes, Duration),
}

/// Reads the record and its expiry at the same moment.
pub(super) async fn read(call: Call<'_>, key: &StoreKey) -> Result<Found, StoreError> {
    let answer = match scripts::LOOKUP.run(call, key.as_str(), &[]).await {
        Err(cause) if cause.is_wrong_type() => return Ok(Found::Unreadable),
        answer => answer?,
    };
    let Value::Array(answer) = answer else { return Err(Cause::Unexpected.into()) };
    match <[Value; 2]>::try_from(answer) {
        Ok([Value::Nil | Value::Boolean(false), _]) => Ok(Found::Nothing),
        Ok([Value::BulkString(record), Value::Int(pttl)]) => Ok(Header::decode(record)
            .and_then(|(header, body)| header.lease_left(pttl).map(|left| Found::Record(header, body, left)))
            .unwrap_or(Found::Unreadable)),
        _ => Err(Cause::Unexpected.into()),
    }
}
