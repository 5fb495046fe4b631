//! The result of an operation as a record, and back.
//!
//! The record is that of a handler which answers 200 with the value as JSON. So an operation and a handler of the same
//! name can share their keys.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::RunError;
use crate::{
    engine::{Later, Outcome, Recordable, Stored},
    error_chain::chain,
    http::response::record::Record,
    telemetry::limited,
};

/// What an effect returned.
pub(super) enum Returned<T, E> {
    Value(T),
    Error(E),
    /// The effect was stopped.
    Nothing,
}

impl<T: Send + 'static, E: Send + 'static> Recordable for Returned<T, E> {
    fn without_content(&self) -> Bytes {
        without_value()
    }

    fn is_success(&self) -> bool {
        matches!(self, Self::Value(_))
    }

    fn store_later(self, _: Later) -> Self {
        self
    }
}

/// What it means for the key. If a value cannot be kept, its record says only that the effect ran.
pub(super) fn outcome<T: Serialize, E>(returned: Result<T, E>, limit: usize) -> Outcome<Returned<T, E>> {
    match returned {
        Err(error) => Outcome::Freed(Returned::Error(error)),
        Ok(value) => {
            let record = encode(&value, limit).unwrap_or_else(without_value);
            Outcome::Stored(Stored { record, recorded: false, unfinished: false, value: Returned::Value(value) })
        }
    }
}

fn encode(value: &impl Serialize, limit: usize) -> Option<Bytes> {
    let written = match serde_json::to_vec(value) {
        Ok(written) => written,
        Err(error) => {
            limited!(RESULT_UNWRITABLE, error = %chain(&error));
            return None;
        }
    };
    if written.len() > limit {
        limited!(RESULT_TOO_LARGE, bytes = written.len(), limit);
        return None;
    }
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Some(Record::encode_whole(StatusCode::OK, &headers, &written, None, &[], None))
}

fn without_value() -> Bytes {
    Record::encode_without_body(StatusCode::OK, &HeaderMap::new())
}

/// The value of a record. `None` if the record is without it.
pub(super) fn decode<T: DeserializeOwned, E>(record: &Bytes) -> Result<Option<T>, RunError<E>> {
    let content = Record::content(record).map_err(|error| {
        limited!(RECORD_UNREADABLE, error = %chain(&error));
        RunError::Unreadable
    })?;
    content.map(|content| serde_json::from_slice(&content).map_err(RunError::OtherType)).transpose()
}
