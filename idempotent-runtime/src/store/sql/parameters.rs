//! The parameters of the statements, made from an attempt.

use std::time::Duration;

use bytes::Bytes;

use super::database::Parameter;
use crate::{
    sql::digest,
    store::{ClaimRequest, StoreKey},
};

/// The longest time, in milliseconds. A database can still add it to a date.
const LONGEST: u64 = 100_000_000_000_000;

/// The parameters for inserting a running row.
pub(super) fn running(attempt: &ClaimRequest, fence: u64, state: i64, steps: &Bytes) -> Vec<Parameter> {
    let steps = if steps.is_empty() { Parameter::NoBytes } else { Parameter::Bytes(steps.clone()) };
    let (state, kept) = (Parameter::Number(state), millis(attempt.retention()));
    let (key, fingerprint, token) = (key(&attempt.key), fingerprint(attempt), token(attempt));
    vec![key, fingerprint, token, number(fence), state, millis(attempt.lease), kept, steps, Parameter::NoBytes]
}

/// The parameters of a statement that stores a response.
pub(super) fn finish(attempt: &ClaimRequest, fence: u64, record: Bytes) -> Vec<Parameter> {
    let (key, token, fingerprint) = (key(&attempt.key), token(attempt), fingerprint(attempt));
    vec![key, token, fingerprint, number(fence), Parameter::Bytes(record), millis(attempt.ttl)]
}

pub(super) fn key(name: &StoreKey) -> Parameter {
    Parameter::bytes(&digest(name))
}

pub(super) fn token(attempt: &ClaimRequest) -> Parameter {
    Parameter::bytes(attempt.token.as_bytes())
}

pub(super) fn fingerprint(attempt: &ClaimRequest) -> Parameter {
    Parameter::bytes(attempt.fingerprint.as_bytes())
}

pub(super) fn number(fence: u64) -> Parameter {
    Parameter::Number(i64::try_from(fence).unwrap_or(i64::MAX))
}

pub(super) fn millis(duration: Duration) -> Parameter {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(LONGEST);
    Parameter::Number(i64::try_from(millis).unwrap_or(i64::MAX))
}
