//! A response, read within limits and encoded for the store.

use axum::{
    http::{HeaderMap, HeaderName, response::Parts},
    response::Response,
};
use bytes::Bytes;

use super::record::{Record, RecordError};
use crate::body::{self, Found, Reading};

/// A response that settles its key.
pub(crate) struct Settled {
    pub(crate) record: Bytes,
    /// Whether the handler put it into its transaction, so that it means nothing unless the journal has it.
    pub(crate) recorded: bool,
    pub(crate) response: Response,
}

/// In the extensions of a response that was encoded for the journal already.
#[derive(Clone)]
pub(crate) struct Recorded(pub(crate) Bytes);

/// Reads and encodes a response. What comes back without an error is a body that broke off.
pub(crate) async fn encode(
    response: Response,
    limit: usize,
    never: &[HeaderName],
) -> Result<Settled, (Response, Option<RecordError>)> {
    let (parts, body) = response.into_parts();
    // The longest record without a body still has to be small, so headers count as well.
    let room = limit.checked_sub(size(&parts.headers));
    let Reading { body, found } = match room {
        Some(room) => body::read(body, room, Some(crate::body::RESPONSE_PATIENCE)).await,
        None => Reading { body, found: Found::Endless },
    };
    let encoded = to_record(&parts, &found, never);
    let response = Response::from_parts(parts, body);
    match encoded {
        Ok(Some(record)) => Ok(Settled { record, recorded: false, response }),
        Ok(None) => Err((response, None)),
        Err(error) => Err((response, Some(error))),
    }
}

fn to_record(parts: &Parts, found: &Found, never: &[HeaderName]) -> Result<Option<Bytes>, RecordError> {
    match found {
        Found::Whole { bytes, trailers } => {
            Record::encode_whole(parts.status, &parts.headers, bytes, trailers.as_ref(), never).map(Some)
        }
        Found::Endless => Record::encode_without_body(parts.status, &parts.headers).map(Some),
        Found::Broken => Ok(None),
    }
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
