//! A response, read within limits and encoded for the store.

use std::time::Duration;

use axum::{
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH, response::Parts},
    response::Response,
};
use bytes::Bytes;

use super::{
    record::{Record, RecordError},
    replay::REPLAYED,
};
use crate::{
    body::{self, Found, Reading, Terms},
    config::settings::Settings,
};

/// How long a response whose length is announced is waited for. It is being made, and it will end.
const ANNOUNCED_PATIENCE: Duration = Duration::from_secs(30);

/// A response that settles its key.
pub(crate) struct Settled {
    pub(crate) record: Bytes,
    /// Whether the handler put it into its transaction, so that it means nothing unless the journal has it.
    pub(crate) recorded: bool,
    /// Whether the body is still coming, so that the record is without it.
    pub(crate) unfinished: bool,
    pub(crate) response: Response,
}

/// In the extensions of a response that was encoded for the journal already.
#[derive(Clone)]
pub(crate) struct Recorded(pub(crate) Bytes);

/// Reads and encodes a response. What comes back without an error is a body that broke off.
pub(crate) async fn encode(
    response: Response,
    settings: &Settings,
) -> Result<Settled, (Response, Option<RecordError>)> {
    let (mut parts, body) = response.into_parts();
    // This is a first answer, whatever a service upstream has said of its own.
    parts.headers.remove(REPLAYED);
    let Reading { body, found } = match room(&parts.headers, settings) {
        Some(limit) => {
            let announced = announced(&parts);
            let known = announced.is_some() || body::length(&body).is_some();
            let patience =
                if known { ANNOUNCED_PATIENCE.max(settings.response_patience) } else { settings.response_patience };
            body::read(body, &Terms { limit, announced, patience }).await
        }
        None => Reading { body, found: Found::TooLarge },
    };
    let unfinished = matches!(found, Found::Unfinished);
    let encoded = to_record(&parts, &found, settings);
    let response = Response::from_parts(parts, body);
    match encoded {
        Ok(Some(record)) => Ok(Settled { record, recorded: false, unfinished, response }),
        Ok(None) => Err((response, None)),
        Err(error) => Err((response, Some(error))),
    }
}

/// How long a body may be that is kept. The longest record without a body still has to be small, so headers count as well.
pub(crate) fn room(headers: &HeaderMap, settings: &Settings) -> Option<usize> {
    let size = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    settings.max_response.checked_sub(size)
}

/// What `Content-Length` says. A 304 has the length of another response there (RFC 9110, section 8.6).
pub(crate) fn announced(parts: &Parts) -> Option<u64> {
    let value = parts.headers.get(CONTENT_LENGTH).filter(|_| parts.status != StatusCode::NOT_MODIFIED)?;
    value.to_str().ok()?.parse().ok()
}

fn to_record(parts: &Parts, found: &Found, settings: &Settings) -> Result<Option<Bytes>, RecordError> {
    match found {
        Found::Whole { bytes, trailers } => {
            let never = &settings.never_replay;
            Record::encode_whole(parts.status, &parts.headers, bytes, trailers.as_ref(), never).map(Some)
        }
        Found::TooLarge | Found::Unfinished => Record::encode_without_body(parts.status, &parts.headers).map(Some),
        Found::Broken => Ok(None),
    }
}
