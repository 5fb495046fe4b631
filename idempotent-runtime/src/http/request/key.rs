//! Reads the client's key: an RFC 9651 string or a bare value. Pure.

use std::{borrow::Cow, fmt, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

use super::ulid;
use crate::{config::policy::KeyFormat, http::header_names::lines_of};

/// The longest key in a header, in bytes, without quotes and escapes.
pub(crate) const MAX_KEY: usize = 255;

/// A client's key, valid and without quotes. `"k"` and `k` are the same key. All spellings of a UUID are the same key, and
/// so are those of a ULID.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    text: Box<str>,
    uuid: Option<Uuid>,
    /// The creation time of a version 7 UUID or a ULID. Only set when the policy demands such keys.
    minted: Option<Duration>,
}

/// Prints nothing of the key, because whoever knows it may be able to get the response.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why a key is not accepted. The messages are for the client and never repeat the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("The request has the key header more than once. Send exactly one key.")]
    Repeated,
    #[error("The request has different keys in different headers. Send one key, in one header.")]
    Different,
    #[error(
        "The key has a comma. Perhaps two header lines were joined to one. Send exactly one key, or put quotes around a \
         key that has a comma."
    )]
    Comma,
    #[error("The key is the nil or the max UUID, which is the same for everybody. Make a new random (version 4) UUID.")]
    EmptyUuid,
    #[error(
        "The value that this operation uses as its key is the nil or the max UUID, which is the same for everybody. Send \
         one that is new for each operation and the same for each retry of it."
    )]
    EmptyUuidValue,
    #[error("The key is empty. Send 1 to 255 printable ASCII characters, such as a UUID.")]
    Empty,
    #[error("The key is longer than 255 bytes. Send 1 to 255 printable ASCII characters, such as a UUID.")]
    TooLong,
    #[error(
        "The key has characters that are not printable ASCII. Send 1 to 255 printable ASCII characters, such as a UUID."
    )]
    NotPrintable,
    #[error("The key starts with a quote but is not an RFC 9651 string. Close the quote, and escape \" and \\ in it.")]
    BrokenString,
    #[error("The key must be a UUID. Send a random (version 4) UUID.")]
    NotUuid,
    #[error("The key must be a UUID of version 7.")]
    NotUuidV7,
    #[error("The key must be a ULID.")]
    NotUlid,
}

impl Key {
    /// Finds the key of a request, in its header or in one of the header's other names. `None` if the request has none
    /// of them.
    pub(crate) fn find(
        headers: &HeaderMap,
        header: &HeaderName,
        aliases: &[HeaderName],
    ) -> Result<Option<Self>, KeyError> {
        let mut found: Option<Self> = None;
        for name in [header].into_iter().chain(aliases) {
            let mut lines = lines_of(headers, name);
            let Some(line) = lines.next() else { continue };
            if lines.next().is_some() {
                return Err(KeyError::Repeated);
            }
            let key = Self::parse(line.as_bytes())?;
            if found.as_ref().is_some_and(|found| *found != key) {
                return Err(KeyError::Different);
            }
            found = Some(key);
        }
        Ok(found)
    }

    /// Reads the value of the header.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, KeyError> {
        let text = unquote(value.trim_ascii())?;
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        // It is ASCII.
        let text = str::from_utf8(&text).map_err(|_| KeyError::NotPrintable)?;
        Self::canonical(text).ok_or(KeyError::EmptyUuid)
    }

    /// A UUID in lower case with hyphens, a ULID in upper case, and any other text as it is. `None` for the nil and the max
    /// UUID.
    fn canonical(text: &str) -> Option<Self> {
        let uuid = uuid(text.as_bytes());
        let text = match &uuid {
            Some(uuid) if uuid.is_nil() || uuid.is_max() => return None,
            Some(_) if text.len() == 36 && !has_upper(text) => text.into(),
            Some(uuid) => (&*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into(),
            None if ulid::made_at(text).is_some() => text.to_ascii_uppercase().into(),
            None => text.into(),
        };
        Some(Self { text, uuid, minted: None })
    }

    /// Checks that the key has the demanded format.
    pub(crate) fn of_format(mut self, format: KeyFormat) -> Result<Self, KeyError> {
        match format {
            KeyFormat::Uuid if self.uuid.is_none() => return Err(KeyError::NotUuid),
            KeyFormat::UuidV7 => self.minted = Some(minted(self.uuid).ok_or(KeyError::NotUuidV7)?),
            KeyFormat::Ulid => self.minted = Some(ulid::made_at(&self.text).ok_or(KeyError::NotUlid)?),
            KeyFormat::Any | KeyFormat::Uuid => {}
        }
        Ok(self)
    }

    /// Reads the value of `key = EXPR`. The service has chosen that value, so it may have any characters and any length.
    pub(crate) fn from_value(text: &str) -> Result<Self, KeyError> {
        Self::canonical(text).ok_or(KeyError::EmptyUuidValue)
    }

    /// A placeholder for a key that is only known after the last argument is extracted.
    pub(crate) fn to_come() -> Self {
        Self { text: Box::default(), uuid: None, minted: None }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The key, and when it was made, since 1970, if the policy demands keys that say so.
    pub(crate) fn into_parts(self) -> (Box<str>, Option<Duration>) {
        (self.text, self.minted)
    }
}

/// Before a UUID as a URN, in any case (RFC 8141, section 3.1).
const URN: &[u8] = b"urn:uuid:";

/// The UUID in the key, in any of the usual spellings.
fn uuid(text: &[u8]) -> Option<Uuid> {
    match text.split_at_checked(URN.len()) {
        // The parser knows the prefix in lower case only.
        Some((urn, uuid)) if uuid.len() == 36 && urn.eq_ignore_ascii_case(URN) => Uuid::try_parse_ascii(uuid).ok(),
        // The lengths of `550e8400e29b…`, `550e8400-e29b-…` and `{550e8400-e29b-…}`.
        _ if matches!(text.len(), 32 | 36 | 38) => Uuid::try_parse_ascii(text).ok(),
        _ => None,
    }
}

fn has_upper(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | byte.is_ascii_uppercase())
}

/// The creation time of a version 7 UUID.
fn minted(uuid: Option<Uuid>) -> Option<Duration> {
    let (seconds, nanos) = uuid.filter(|uuid| uuid.get_version_num() == 7)?.get_timestamp()?.to_unix();
    Some(Duration::new(seconds, nanos))
}

fn unquote(value: &[u8]) -> Result<Cow<'_, [u8]>, KeyError> {
    // Every byte is looked at, whatever those before it are, so that the compiler can compare sixteen at once.
    if !value.iter().fold(true, |printable, byte| printable & (0x20..=0x7e).contains(byte)) {
        return Err(KeyError::NotPrintable);
    }
    if value.first() != Some(&b'"') {
        // Proxies that join header lines put a comma between them (RFC 9110, section 5.3). Inside a quoted string a
        // comma is an ordinary character.
        return if value.contains(&b',') { Err(KeyError::Comma) } else { Ok(value.into()) };
    }
    // An item (RFC 9651, section 4.2). Parameters that nobody has defined are ignored.
    let item = sfv::Parser::new(value).parse_item::<sfv::Item>().map_err(|_| KeyError::BrokenString)?;
    match item.bare_item {
        sfv::BareItem::String(text) => Ok(String::from(text).into_bytes().into()),
        _ => Err(KeyError::BrokenString),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[u8], format: KeyFormat) -> Result<String, KeyError> {
        Key::parse(line).and_then(|key| key.of_format(format)).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_quoted_and_a_bare_key_are_one_key() {
        assert_eq!(parse(b"\"k-1\"", KeyFormat::Any), parse(b"k-1", KeyFormat::Any));
        assert_eq!(parse(b"  k-1 ", KeyFormat::Any).unwrap(), "k-1");
        assert_eq!(parse(br#""a\"b\\c""#, KeyFormat::Any).unwrap(), r#"a"b\c"#);
        assert_eq!(parse(b"\"k\";v=1", KeyFormat::Any).unwrap(), "k");
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert_eq!(parse(b"", KeyFormat::Any), Err(KeyError::Empty));
        assert_eq!(parse(b"\"\"", KeyFormat::Any), Err(KeyError::Empty));
        assert_eq!(parse(&[b'k'; 256], KeyFormat::Any), Err(KeyError::TooLong));
        assert_eq!(parse(&[b'k'; 255], KeyFormat::Any).map(|key| key.len()), Ok(255));
        assert_eq!(parse("schlüssel".as_bytes(), KeyFormat::Any), Err(KeyError::NotPrintable));
        assert_eq!(parse(b"a\tb", KeyFormat::Any), Err(KeyError::NotPrintable));
        assert_eq!(parse(b"\"open", KeyFormat::Any), Err(KeyError::BrokenString));
        assert_eq!(parse(b"\"a\", \"b\"", KeyFormat::Any), Err(KeyError::BrokenString));
        assert_eq!(parse(b"a,b", KeyFormat::Any), Err(KeyError::Comma));
        assert_eq!(parse(b"a, a", KeyFormat::Any), Err(KeyError::Comma));
        assert_eq!(parse(b"\"a, b\"", KeyFormat::Any).unwrap(), "a, b");
    }

    #[test]
    fn a_uuid_is_one_key_however_it_is_written() {
        let lower = parse(b"550e8400-e29b-41d4-a716-446655440000", KeyFormat::Uuid).unwrap();
        for same in [
            &b"\"550E8400-E29B-41D4-A716-446655440000\""[..],
            b"550e8400e29b41d4a716446655440000",
            b"{550e8400-e29b-41d4-a716-446655440000}",
            b"urn:uuid:550E8400-e29b-41d4-a716-446655440000",
            b"URN:UUID:550E8400-E29B-41D4-A716-446655440000",
        ] {
            assert_eq!(parse(same, KeyFormat::Uuid).unwrap(), lower);
            assert_eq!(parse(same, KeyFormat::Any).unwrap(), lower);
        }
        assert_eq!(parse(b"urn:uuid:550e8400e29b41d4a716446655440000", KeyFormat::Uuid), Err(KeyError::NotUuid));
        for empty in [&b"00000000-0000-0000-0000-000000000000"[..], b"FFFFFFFF-ffff-ffff-ffff-ffffffffffff"] {
            for format in [KeyFormat::Any, KeyFormat::Uuid, KeyFormat::UuidV7] {
                assert_eq!(parse(empty, format), Err(KeyError::EmptyUuid));
            }
        }
        assert_eq!(parse(b"order-1", KeyFormat::Uuid), Err(KeyError::NotUuid));
        assert_eq!(parse(lower.as_bytes(), KeyFormat::UuidV7), Err(KeyError::NotUuidV7));
    }

    #[test]
    fn a_ulid_is_one_key_in_either_case_whatever_the_handler_demands() {
        let upper = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for same in [upper, "01arz3ndektsv4rrffq69g5fav", "01ARZ3ndektsv4rrffq69g5fav"] {
            for format in [KeyFormat::Any, KeyFormat::Ulid] {
                assert_eq!(parse(same.as_bytes(), format).unwrap(), upper);
            }
            assert_eq!(Key::from_value(same).unwrap().as_str(), upper);
        }
        // Not base 32 by Crockford, or longer: any other text keeps its case.
        for other in ["01arz3ndektsv4rrffq69g5fau", "01arz3ndektsv4rrffq69g5fav0"] {
            assert_eq!(parse(other.as_bytes(), KeyFormat::Any).unwrap(), other);
        }
    }

    #[test]
    fn a_key_is_found_in_one_of_its_headers_and_never_in_two_that_differ() {
        let (new, old) = (HeaderName::from_static("idempotency-key"), HeaderName::from_static("x-old"));
        let find = |lines: &[(&'static str, &'static str)]| {
            let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
            let mut headers = HeaderMap::new();
            lines.for_each(|(name, value)| {
                headers.append(name, value);
            });
            let found = Key::find(&headers, &new, std::slice::from_ref(&old));
            found.map(|key| key.map(|key| key.as_str().to_owned()))
        };
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&[("x-old", "a")]), Ok(Some("a".to_owned())));
        assert_eq!(find(&[("x-old", "a"), ("idempotency-key", "\"a\"")]), Ok(Some("a".to_owned())));
        assert_eq!(find(&[("x-old", "a"), ("idempotency-key", "b")]), Err(KeyError::Different));
        assert_eq!(find(&[("x-old", "a"), ("x-old", "a")]), Err(KeyError::Repeated));
        assert_eq!(find(&[("idempotency-key", "a"), ("idempotency-key", "a")]), Err(KeyError::Repeated));
    }

    #[test]
    fn a_dated_key_says_when_it_was_made() {
        let minted = Duration::from_secs(1_700_000_000);
        let uuid = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, minted.as_secs(), 0)).to_string();
        let key = |format| Key::parse(uuid.as_bytes()).unwrap().of_format(format).unwrap();
        assert_eq!(key(KeyFormat::UuidV7).into_parts().1, Some(minted));
        assert_eq!(key(KeyFormat::Uuid).into_parts().1, None);
    }
}
