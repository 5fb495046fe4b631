//! Encodes a response as a record, and decodes a record. Pure.
//!
//! Bytes from a store are not trusted. Decoding them gives a record or an error. An unreadable record never counts as
//! no record.

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION},
    },
    response::Response,
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    error_chain::chain,
    http::{body, response::replay::replayable},
    problem::{Problem, REPLAYED, texts},
    telemetry::{FirstTraceparent, limited},
};

/// The first byte of every record. A later layout gets another value.
const VERSION: u8 = 2;

/// A header line: its name, its value, and whether the value must be kept out of logs and header compression.
type Line<'a> = (Raw<'a>, Raw<'a>, bool);

type Lines<'a> = Vec<Line<'a>>;

/// Bytes that are written in one piece. A slice would be written byte by byte, to the same effect.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self)
    }
}

/// The layout after the version byte, encoded by postcard.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    status: u16,
    #[serde(borrow)]
    headers: Lines<'a>,
    content: Option<Content<'a>>,
}

/// The whole body and the headers. A record without it says that the request ran, and has nothing to replay.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    body: Raw<'a>,
    #[serde(borrow)]
    trailers: Option<Lines<'a>>,
}

/// The stored response of a request.
#[derive(Debug)]
pub(crate) enum Record {
    /// The response to replay. It has the marker header.
    Whole(Response),
    /// The request ran, and its response was too large or endless. `location`: its `Location`, if it had one.
    WithoutBody { location: Option<HeaderValue> },
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it was written by a version of this crate that uses another layout")]
    Version,
    #[error("it is cut off or damaged")]
    Damaged(#[source] postcard::Error),
    #[error("bytes follow its end")]
    Trailing,
    #[error("its status or one of its headers is not valid in HTTP")]
    NotHttp(#[source] axum::http::Error),
}

/// Reads the layout of a record.
fn wire(record: &Bytes) -> Result<Wire<'_>, RecordError> {
    let Some((&VERSION, encoded)) = record.split_first() else { return Err(RecordError::Version) };
    let (wire, rest) = postcard::take_from_bytes::<Wire<'_>>(encoded).map_err(RecordError::Damaged)?;
    if rest.is_empty() { Ok(wire) } else { Err(RecordError::Trailing) }
}

impl Record {
    /// Encodes a response whose whole body was read.
    pub(crate) fn encode_whole(
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        trailers: Option<&HeaderMap>,
        never: &[HeaderName],
        trace: Option<&FirstTraceparent>,
    ) -> Result<Bytes, RecordError> {
        let trailers = trailers.map(|trailers| lines(trailers, never));
        let content = Some(Content { body: Raw(body), trailers });
        let mut headers = lines(headers, never);
        headers.extend(trace.map(|trace| (Raw(TRACE), Raw(trace.as_str().as_bytes()), false)));
        encode(&Wire { status: status.as_u16(), headers, content })
    }

    /// Encodes a record without a body: it says that the request ran, and keeps the `Location`.
    pub(crate) fn encode_without_body(status: StatusCode, headers: &HeaderMap) -> Result<Bytes, RecordError> {
        let location = headers.get(LOCATION).map(|value| line(&LOCATION, value));
        let headers = location.into_iter().filter(|(_, value, _)| value.0.len() <= MAX_LOCATION).collect();
        encode(&Wire { status: status.as_u16(), headers, content: None })
    }

    /// The body of a record, without decoding the headers. `None` if the record is without it.
    pub(crate) fn content(record: &Bytes) -> Result<Option<Bytes>, RecordError> {
        let wire = wire(record)?;
        Ok(wire.content.map(|content| record.slice_ref(content.body.0)))
    }

    /// Decodes the bytes that [`encode_whole`](Self::encode_whole) or
    /// [`encode_without_body`](Self::encode_without_body) wrote. The body is a slice of the record, not a copy.
    pub(crate) fn decode(record: &Bytes) -> Result<Self, RecordError> {
        let mut wire = wire(record)?;
        let trace = wire.headers.pop_if(|(name, ..)| name.0 == TRACE);
        let headers = header_map(record, &wire.headers)?;
        let status = StatusCode::from_u16(wire.status).map_err(|error| RecordError::NotHttp(error.into()))?;
        let Some(content) = wire.content else {
            return Ok(Self::WithoutBody { location: headers.get(LOCATION).cloned() });
        };
        let trailers = content.trailers.map(|lines| header_map(record, &lines)).transpose()?;
        let mut response = Response::new(body::whole(record.slice_ref(content.body.0), trailers));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let marker = HeaderValue::from_static("true");
        response.headers_mut().try_insert(REPLAYED, marker).map_err(|error| RecordError::NotHttp(error.into()))?;
        if let Some(first) = trace.and_then(|(_, value, _)| FirstTraceparent::parse(value.0)) {
            response.extensions_mut().insert(first);
        }
        Ok(Self::Whole(response))
    }
}

/// The answer for a record: its response, or the problem that there is nothing to replay.
pub(crate) fn answer(record: &Bytes) -> Result<Response, Problem> {
    match Record::decode(record) {
        Ok(Record::Whole(response)) => Ok(response),
        Ok(Record::WithoutBody { location }) => Err(texts::not_replayable(location)),
        Err(error) => {
            limited!(RECORD_UNREADABLE, error = %chain(&error));
            Err(texts::record_unreadable())
        }
    }
}

/// The last line of a record may be the trace of its request. No response is stored with a header of this name
/// (`exchange.rs`), so the line is never a header.
const TRACE: &[u8] = b"traceparent";

/// A longer `Location` is left out of a record without a body. Such a record must be small, so that it can always be
/// stored.
const MAX_LOCATION: usize = 8 << 10;

fn lines<'a>(headers: &'a HeaderMap, never: &'a [HeaderName]) -> Lines<'a> {
    let mut lines = Vec::with_capacity(headers.len());
    lines.extend(replayable(headers, never).map(|(name, value)| line(name, value)));
    lines
}

fn line<'a>(name: &'a HeaderName, value: &'a HeaderValue) -> Line<'a> {
    (Raw(name.as_ref()), Raw(value.as_bytes()), value.is_sensitive())
}

fn encode(wire: &Wire<'_>) -> Result<Bytes, RecordError> {
    // The version, the status, two counts, and a length of at most five bytes before each part.
    let size_of =
        |lines: &Lines<'_>| -> usize { lines.iter().map(|(name, value, _)| name.0.len() + value.0.len() + 11).sum() };
    let content =
        wire.content.as_ref().map_or(0, |content| content.body.0.len() + content.trailers.as_ref().map_or(0, size_of));
    let mut record = Vec::with_capacity(32 + size_of(&wire.headers) + content);
    record.push(VERSION);
    let record = postcard::to_extend(wire, record).map_err(RecordError::Damaged)?;
    Ok(record.into())
}

/// The names that nearly all responses have. They need not be parsed.
static COMMON: [HeaderName; 5] = [CONTENT_TYPE, LOCATION, CONTENT_LENGTH, ETAG, CACHE_CONTROL];

/// The values are slices of the record, as the body is.
fn header_map(record: &Bytes, lines: &Lines<'_>) -> Result<HeaderMap, RecordError> {
    // One more than stored, for the marker, and if possible one for the `Content-Length` that axum adds. A header map that
    // is full is copied into a larger one, or refuses more headers.
    let not_http = |error: axum::http::Error| RecordError::NotHttp(error);
    let with_room_for = |more| HeaderMap::try_with_capacity(lines.len() + more);
    let mut headers = with_room_for(2).or_else(|_| with_room_for(1)).map_err(|error| not_http(error.into()))?;
    for (Raw(name), Raw(value), sensitive) in lines {
        let name = match COMMON.iter().find(|common| common.as_str().as_bytes() == *name) {
            Some(common) => common.clone(),
            None => HeaderName::from_bytes(name).map_err(|error| not_http(error.into()))?,
        };
        let value = record.slice_ref(value);
        let mut value = HeaderValue::from_maybe_shared(value).map_err(|error| not_http(error.into()))?;
        value.set_sensitive(*sensitive);
        headers.try_append(name, value).map_err(|error| not_http(error.into()))?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn whole(record: &Bytes) -> Response {
        match Record::decode(record) {
            Ok(Record::Whole(response)) => response,
            other => panic!("not a whole record: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_whole_response_comes_back_byte_for_byte(
            status in 100u16..1000,
            values in prop::collection::vec(prop::collection::vec(0x20u8..=0xff, 0..40), 0..8),
            body in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let mut headers = HeaderMap::new();
            for value in values.iter().filter(|value| !value.contains(&0x7f)) {
                headers.append("x-opaque", HeaderValue::from_bytes(value).unwrap());
            }
            let status = StatusCode::from_u16(status).unwrap();
            let record = Record::encode_whole(status, &headers, &body, None, &[], None).unwrap();
            let mut response = whole(&record);
            prop_assert_eq!(response.status(), status);
            prop_assert_eq!(response.headers_mut().remove(REPLAYED).unwrap(), "true");
            prop_assert_eq!(response.headers(), &headers);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let collected = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
            prop_assert_eq!(&collected[..], &body[..]);
        }

        #[test]
        fn garbage_is_an_error_or_a_record_and_never_a_panic(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::decode(&garbage.into());
        }

        #[test]
        fn a_record_that_is_cut_off_or_longer_is_refused(cut in 0usize..64) {
            let record = Record::encode_whole(StatusCode::OK, &HeaderMap::new(), &[7; 64], None, &[], None).unwrap();
            let cut = record.slice(..record.len() - 1 - cut);
            prop_assert!(Record::decode(&cut).is_err());
            let mut longer = record.to_vec();
            longer.push(0);
            prop_assert!(matches!(Record::decode(&longer.into()), Err(RecordError::Trailing)));
        }
    }

    #[tokio::test]
    async fn trailers_are_kept() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let record = Record::encode_whole(StatusCode::OK, &HeaderMap::new(), b"x", Some(&trailers), &[], None).unwrap();
        let collected = whole(&record).into_body().collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
    }

    #[test]
    fn a_record_without_a_body_keeps_the_location() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/exports/1"));
        headers.insert("x-other", HeaderValue::from_static("1"));
        let record = Record::encode_without_body(StatusCode::CREATED, &headers).unwrap();
        let decoded = Record::decode(&record).unwrap();
        assert!(matches!(decoded, Record::WithoutBody { location: Some(location) } if location == "/exports/1"));
    }

    #[test]
    fn more_headers_than_http_allows_are_an_error_at_any_number() {
        for number in [1, 24_575, 24_576, 24_577, 32_767, 32_768, 40_000] {
            let names: Vec<String> = (0..number).map(|number| format!("x-{number}")).collect();
            let headers = names.iter().map(|name| (Raw(name.as_bytes()), Raw(b"b"), false)).collect();
            let content = Some(Content { body: Raw(b""), trailers: None });
            let record = encode(&Wire { status: 200, headers, content }).unwrap();
            match Record::decode(&record) {
                Ok(Record::Whole(response)) => assert_eq!(response.headers().len(), number + 1),
                Err(RecordError::NotHttp(_)) => assert!(number >= 24_576, "{number} headers should have fitted"),
                other => panic!("{number}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_value_that_was_marked_as_sensitive_stays_so() {
        let mut headers = HeaderMap::new();
        let mut token = HeaderValue::from_static("secret");
        token.set_sensitive(true);
        headers.insert("x-token", token);
        headers.insert("x-other", HeaderValue::from_static("1"));
        let response = whole(&Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], None).unwrap());
        assert!(response.headers()["x-token"].is_sensitive() && !response.headers()["x-other"].is_sensitive());
    }

    #[test]
    fn a_record_is_written_into_one_allocation() {
        let mut headers = HeaderMap::new();
        for number in 0..50_u32 {
            headers.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), number.into());
        }
        let lines = lines(&headers, &[]);
        let content = Some(Content { body: Raw(&[7; 3_000]), trailers: None });
        let wire = Wire { status: 200, headers: lines, content };
        let (record, guess) = (
            encode(&wire).unwrap(),
            32 + 3_000 + wire.headers.iter().map(|(n, v, _)| n.0.len() + v.0.len() + 11).sum::<usize>(),
        );
        assert!(record.len() <= guess, "{} bytes do not fit into {guess}", record.len());
    }

    #[test]
    fn the_trace_of_a_request_is_kept_beside_its_headers() {
        let first = FirstTraceparent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("a handler's own"));
        let record = Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], Some(&first)).unwrap();
        let response = whole(&record);
        assert_eq!(response.extensions().get(), Some(&first));
        assert_eq!(response.headers().keys().collect::<Vec<_>>(), [&REPLAYED]);
        let without = Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], None).unwrap();
        assert_eq!(record.len(), without.len() + 69);
    }

    #[test]
    fn the_layout_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/1"));
        let record = Record::encode_whole(StatusCode::CREATED, &headers, b"body", None, &[], None).unwrap();
        assert_eq!(&record[..], b"\x02\xc9\x01\x01\x08location\x02/1\x00\x01\x04body\x00");
    }

    #[test]
    fn another_version_is_named() {
        assert!(matches!(Record::decode(&Bytes::from_static(b"\x01rest")), Err(RecordError::Version)));
        assert!(matches!(Record::decode(&Bytes::new()), Err(RecordError::Version)));
    }
}
