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

use crate::{
    http::{body, response::replay::replayable},
    parts::{push, push_number, take, take_number},
    telemetry::FirstTraceparent,
};

/// The first byte of every record. A later layout gets another value.
///
/// After it come the status, the headers, and the content. The headers are their number, and of each its name, its value,
/// and whether the value is sensitive. The content is the body, and the trailers in the form of the headers. Before what may
/// be absent is a byte that is 1 or 0.
const VERSION: u8 = 2;

/// The stored response of a request.
#[derive(Debug)]
pub(crate) enum Record {
    /// The response to replay, and the trace of the request that it answered.
    Whole(Response, Option<FirstTraceparent>),
    /// The request ran, and its response was too large or endless. `location`: its `Location`, if it had one.
    WithoutBody { location: Option<HeaderValue> },
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it was written by a version of this crate that uses another layout")]
    Version,
    #[error("it is cut off or damaged")]
    Damaged,
    #[error("bytes follow its end")]
    Trailing,
    #[error("its status or one of its headers is not valid in HTTP")]
    NotHttp(#[source] axum::http::Error),
}

impl RecordError {
    pub(crate) fn not_http(error: impl Into<axum::http::Error>) -> Self {
        Self::NotHttp(error.into())
    }
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
    ) -> Bytes {
        let trace = trace.map(|trace| (TRACE, trace.as_str().as_bytes(), false));
        let sizes = [lines_size(headers), trace.map_or(0, line_size), body.len(), trailers.map_or(0, lines_size)];
        let mut record = begin(status, sizes.iter().sum());
        push_lines(&mut record, replayable(headers, never).map(line).chain(trace));
        record.push(1);
        push(&mut record, body);
        record.push(trailers.is_some().into());
        if let Some(trailers) = trailers {
            push_lines(&mut record, replayable(trailers, never).map(line));
        }
        // Headers that are not replayed may have left much room unused.
        if record.capacity() - record.len() > MAX_UNUSED {
            record.shrink_to_fit();
        }
        record.into()
    }

    /// Encodes a record without a body: it says that the request ran, and keeps the `Location`.
    pub(crate) fn encode_without_body(status: StatusCode, headers: &HeaderMap) -> Bytes {
        let location = headers.get(LOCATION).filter(|value| value.len() <= MAX_LOCATION);
        let location = location.map(|value| line((&LOCATION, value)));
        let mut record = begin(status, location.map_or(0, line_size));
        push_lines(&mut record, location);
        record.push(0);
        record.into()
    }

    /// The body of a record, without decoding the headers. `None` if the record is without it.
    pub(crate) fn content(record: &Bytes) -> Result<Option<Bytes>, RecordError> {
        let mut reader = Reader::new(record)?;
        reader.status()?;
        reader.lines()?;
        let body = if reader.flag()? { Some(record.slice_ref(reader.part()?)) } else { None };
        if body.is_some() && reader.flag()? {
            reader.lines()?;
        }
        reader.end()?;
        Ok(body)
    }

    /// Decodes the bytes that [`encode_whole`](Self::encode_whole) or
    /// [`encode_without_body`](Self::encode_without_body) wrote. The body is a slice of the record, not a copy.
    pub(crate) fn decode(record: &Bytes) -> Result<Self, RecordError> {
        let mut reader = Reader::new(record)?;
        let status = reader.status()?;
        let (headers, trace) = reader.headers()?;
        if !reader.flag()? {
            reader.end()?;
            return Ok(Self::WithoutBody { location: headers.get(LOCATION).cloned() });
        }
        let body = record.slice_ref(reader.part()?);
        let trailers = if reader.flag()? { Some(reader.headers()?.0) } else { None };
        reader.end()?;
        let mut response = Response::new(body::whole(body, trailers));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(Self::Whole(response, trace))
    }
}

/// Reads a record from its beginning.
struct Reader<'a> {
    record: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(record: &'a Bytes) -> Result<Self, RecordError> {
        let Some((&VERSION, rest)) = record.split_first() else { return Err(RecordError::Version) };
        Ok(Self { record, rest })
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        take_number(&mut self.rest).ok_or(RecordError::Damaged)
    }

    fn part(&mut self) -> Result<&'a [u8], RecordError> {
        take(&mut self.rest).ok_or(RecordError::Damaged)
    }

    fn flag(&mut self) -> Result<bool, RecordError> {
        let Some((&flag @ (0 | 1), rest)) = self.rest.split_first() else { return Err(RecordError::Damaged) };
        self.rest = rest;
        Ok(flag == 1)
    }

    fn line(&mut self) -> Result<Line<'a>, RecordError> {
        Ok((self.part()?, self.part()?, self.flag()?))
    }

    fn status(&mut self) -> Result<StatusCode, RecordError> {
        let status = u16::try_from(self.number()?).map_err(|_| RecordError::Damaged)?;
        StatusCode::from_u16(status).map_err(RecordError::not_http)
    }

    /// How many lines follow. Each takes three bytes or more. A damaged record must not reserve memory for lines that it does
    /// not have.
    fn count(&mut self) -> Result<usize, RecordError> {
        let lines = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if lines <= self.rest.len() / 3 { Ok(lines) } else { Err(RecordError::Damaged) }
    }

    /// Passes over lines.
    fn lines(&mut self) -> Result<(), RecordError> {
        for _ in 0..self.count()? {
            self.line()?;
        }
        Ok(())
    }

    /// The values are slices of the record, as the body is. The last line may be the trace of the request.
    fn headers(&mut self) -> Result<(HeaderMap, Option<FirstTraceparent>), RecordError> {
        let lines = self.count()?;
        // One more than stored, for the marker, and if possible one for the `Content-Length` that axum adds. A header map that
        // is full is copied into a larger one, or refuses more headers.
        let with_room_for = |more| HeaderMap::try_with_capacity(lines + more);
        let mut headers = with_room_for(2).or_else(|_| with_room_for(1)).map_err(RecordError::not_http)?;
        for index in 1..=lines {
            let (name, value, sensitive) = self.line()?;
            if name == TRACE && index == lines {
                return Ok((headers, FirstTraceparent::parse(value)));
            }
            let name = match COMMON.iter().find(|common| common.as_str().as_bytes() == name) {
                Some(common) => common.clone(),
                None => HeaderName::from_bytes(name).map_err(RecordError::not_http)?,
            };
            let mut value =
                HeaderValue::from_maybe_shared(self.record.slice_ref(value)).map_err(RecordError::not_http)?;
            value.set_sensitive(sensitive);
            headers.try_append(name, value).map_err(RecordError::not_http)?;
        }
        Ok((headers, None))
    }

    fn end(&self) -> Result<(), RecordError> {
        if self.rest.is_empty() { Ok(()) } else { Err(RecordError::Trailing) }
    }
}

/// The last line of a record may be the trace of its request. No response is stored with a header of this name
/// (`exchange.rs`), so the line is never a header.
const TRACE: &[u8] = b"traceparent";

/// A longer `Location` is left out of a record without a body. Such a record must be small, so that it can always be
/// stored.
const MAX_LOCATION: usize = 8 << 10;

/// How many bytes a record may take in memory beyond its length.
const MAX_UNUSED: usize = 256;

/// A header line: its name, its value, and whether the value must be kept out of logs and header compression.
type Line<'a> = (&'a [u8], &'a [u8], bool);

fn line<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> Line<'a> {
    (name.as_ref(), value.as_bytes(), value.is_sensitive())
}

/// The most that a line takes in a record. The length before each part takes five bytes or less.
fn line_size((name, value, _): Line<'_>) -> usize {
    name.len() + value.len() + 11
}

fn lines_size(headers: &HeaderMap) -> usize {
    headers.iter().map(line).map(line_size).sum()
}

/// Begins a record, with room for lines and a body of this size.
fn begin(status: StatusCode, size: usize) -> Vec<u8> {
    // The version, the status, two numbers of lines, the length of the body, and two flags.
    let mut record = Vec::with_capacity(32 + size);
    record.push(VERSION);
    push_number(&mut record, status.as_u16().into());
    record
}

fn push_lines<'a>(record: &mut Vec<u8>, lines: impl IntoIterator<Item = Line<'a>>) {
    let (start, mut count) = (record.len(), 0);
    for (name, value, sensitive) in lines {
        push(record, name);
        push(record, value);
        record.push(sensitive.into());
        count += 1;
    }
    // Their number goes before them.
    let end = record.len();
    push_number(record, count);
    let length = record.len() - end;
    if let Some(lines) = record.get_mut(start..) {
        lines.rotate_right(length);
    }
}

/// The names that nearly all responses have. They need not be parsed.
static COMMON: [HeaderName; 5] = [CONTENT_TYPE, LOCATION, CONTENT_LENGTH, ETAG, CACHE_CONTROL];

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    fn whole(record: &Bytes) -> Response {
        match Record::decode(record) {
            Ok(Record::Whole(response, _)) => response,
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
            let record = Record::encode_whole(status, &headers, &body, None, &[], None);
            let response = whole(&record);
            prop_assert_eq!(response.status(), status);
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
            let record = Record::encode_whole(StatusCode::OK, &HeaderMap::new(), &[7; 64], None, &[], None);
            let cut = record.slice(..record.len() - 1 - cut);
            prop_assert!(Record::decode(&cut).is_err() && Record::content(&cut).is_err());
            let longer = Bytes::from([&record[..], &[0]].concat());
            prop_assert!(matches!(Record::decode(&longer), Err(RecordError::Trailing)));
            prop_assert!(matches!(Record::content(&longer), Err(RecordError::Trailing)));
        }
    }

    #[tokio::test]
    async fn trailers_are_kept() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let record = Record::encode_whole(StatusCode::OK, &HeaderMap::new(), b"x", Some(&trailers), &[], None);
        let collected = whole(&record).into_body().collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
    }

    #[test]
    fn a_record_without_a_body_keeps_the_location() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/exports/1"));
        headers.insert("x-other", HeaderValue::from_static("1"));
        let record = Record::encode_without_body(StatusCode::CREATED, &headers);
        let decoded = Record::decode(&record).unwrap();
        assert!(matches!(decoded, Record::WithoutBody { location: Some(location) } if location == "/exports/1"));
    }

    #[test]
    fn more_headers_than_http_allows_are_an_error_at_any_number() {
        for number in [1, 24_575, 24_576, 24_577, 32_767, 32_768, 40_000] {
            let names: Vec<String> = (0..number).map(|number| format!("x-{number}")).collect();
            let mut record = begin(StatusCode::OK, 0);
            push_lines(&mut record, names.iter().map(|name| (name.as_bytes(), &b"b"[..], false)));
            record.extend([1, 0, 0]);
            match Record::decode(&record.into()) {
                Ok(Record::Whole(mut response, _)) => {
                    assert_eq!(response.headers().len(), number);
                    // The marker of a replay has room as well.
                    assert!(response.headers_mut().try_insert("x-another", HeaderValue::from_static("")).is_ok());
                }
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
        let response = whole(&Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], None));
        assert!(response.headers()["x-token"].is_sensitive() && !response.headers()["x-other"].is_sensitive());
    }

    #[test]
    fn a_record_has_room_for_all_that_is_written_into_it() {
        let mut headers = HeaderMap::new();
        for number in 0..200_u32 {
            headers.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), number.into());
        }
        let room = begin(StatusCode::OK, 2 * lines_size(&headers) + 3_000).capacity();
        let record = Record::encode_whole(StatusCode::OK, &headers, &[7; 3_000], Some(&headers), &[], None);
        assert!(record.len() <= room, "{} bytes do not fit into {room}", record.len());
        assert_eq!(whole(&record).headers().len(), 200);
    }

    #[test]
    fn the_trace_of_a_request_is_kept_beside_its_headers() {
        let first = FirstTraceparent::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("a handler's own"));
        let record = Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], Some(&first));
        let Ok(Record::Whole(response, Some(kept))) = Record::decode(&record) else { panic!("no trace") };
        assert!(kept == first && response.headers().is_empty());
        let without = Record::encode_whole(StatusCode::OK, &headers, b"", None, &[], None);
        assert_eq!(record.len(), without.len() + 69);
    }

    #[test]
    fn the_layout_stays_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/1"));
        let record = Record::encode_whole(StatusCode::CREATED, &headers, b"body", None, &[], None);
        assert_eq!(&record[..], b"\x02\xc9\x01\x01\x08location\x02/1\x00\x01\x04body\x00");
    }

    #[test]
    fn another_version_is_named() {
        assert!(matches!(Record::decode(&Bytes::from_static(b"\x01rest")), Err(RecordError::Version)));
        assert!(matches!(Record::decode(&Bytes::new()), Err(RecordError::Version)));
    }
}
