//! Reads a response within limits, and encodes it for the store.

use std::time::Duration;

use axum::{
    http::{HeaderMap, StatusCode, header::CONTENT_LENGTH, response::Parts},
    response::Response,
};
use bytes::Bytes;

use super::{grpc, record::Record};
use crate::{
    config::settings::Settings,
    engine::Stored,
    http::body::{self, BodyRead, Reading, Terms},
    telemetry::{FirstTraceparent, limited},
};

/// How long to wait for a response whose length is announced. Such a response has an end.
const ANNOUNCED_PATIENCE: Duration = Duration::from_secs(30);

/// In the extensions of a response that was already encoded for the journal.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) record: Bytes,
    /// Whether an earlier attempt has committed it.
    pub(crate) replayed: bool,
}

/// A response that was read and encoded.
pub(crate) struct Encoded {
    pub(crate) stored: Stored<Response>,
    /// The status that its trailers tell, for a response of gRPC.
    pub(crate) told: Option<StatusCode>,
    /// It is larger than `max_response`, so its record has no body.
    pub(crate) is_too_large: bool,
}

/// Reads and encodes a response. `Err` means that the body failed before its end.
///
/// A plain function, since an `async fn` would keep a second copy of the response.
pub(crate) fn encode(
    response: Response,
    settings: &Settings,
    trace: Option<&FirstTraceparent>,
) -> impl Future<Output = Result<Encoded, Response>> + Send {
    let (mut parts, body) = response.into_parts();
    async move {
        let announced = announced(&parts);
        let Reading { body, found } = match body_limit(&parts.headers, settings) {
            Some(limit) => {
                let known = announced.is_some() || body::length(&body).is_some();
                let patience =
                    if known { ANNOUNCED_PATIENCE.max(settings.response_patience) } else { settings.response_patience };
                body::read(body, Terms { limit, announced, patience }).await
            }
            None => Reading { body, found: BodyRead::TooLarge },
        };
        let (unfinished, is_too_large) = (matches!(found, BodyRead::Unfinished), matches!(found, BodyRead::TooLarge));
        let trailers = if let BodyRead::Whole { trailers, .. } = &found { trailers.as_ref() } else { None };
        let told = trailers.and_then(grpc::http_status);
        if let (Some(_), BodyRead::Whole { bytes, .. }) = (announced, &found) {
            without_wrong_length(&mut parts, bytes.len());
        }
        let encoded = to_record(&parts, &found, settings, trace);
        let response = Response::from_parts(parts, body);
        match encoded {
            Some(record) => {
                let stored = Stored { record, recorded: false, unfinished, value: response };
                Ok(Encoded { stored, told, is_too_large })
            }
            None => Err(response),
        }
    }
}

/// The largest body that can be kept with these headers. `None` if the headers alone are too large.
pub(crate) fn body_limit(headers: &HeaderMap, settings: &Settings) -> Option<usize> {
    let size = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    settings.max_response.checked_sub(size)
}

/// The length by `Content-Length`. Not for a 304, where that header gives the length of another response (RFC 9110,
/// section 8.6).
fn announced(parts: &Parts) -> Option<u64> {
    let value = parts.headers.get(CONTENT_LENGTH).filter(|_| parts.status != StatusCode::NOT_MODIFIED)?;
    value.to_str().ok()?.parse().ok()
}

/// Removes a `Content-Length` that is smaller than the body: an upstream's, whose body was unpacked. Returns false if it
/// is larger, because such a body ended early.
pub(super) fn without_wrong_length(parts: &mut Parts, length: usize) -> bool {
    let Some(announced) = announced(parts) else { return true };
    if announced < length as u64 {
        limited!(WRONG_LENGTH, announced, length);
        parts.headers.remove(CONTENT_LENGTH);
    }
    announced <= length as u64
}

fn to_record(parts: &Parts, found: &BodyRead, settings: &Settings, trace: Option<&FirstTraceparent>) -> Option<Bytes> {
    match found {
        BodyRead::Whole { bytes, trailers } => {
            let never = &settings.never_replay;
            Some(Record::encode_whole(parts.status, &parts.headers, bytes, trailers.as_ref(), never, trace))
        }
        BodyRead::TooLarge | BodyRead::Unfinished => Some(Record::encode_without_body(parts.status, &parts.headers)),
        BodyRead::Broken => None,
    }
}
