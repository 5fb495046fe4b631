//! Reading the `Idempotency-Key` header: an RFC 9651 string or a bare value. Pure.

use std::{fmt, time::Duration, time::SystemTime};

use axum::http::HeaderValue;
use uuid::Uuid;

use crate::config::policy::KeyFormat;

/// The longest key, in bytes, after quotes and escapes are gone.
pub(crate) const MAX_KEY: usize = 255;

/// How far a time-stamped key may be ahead of the store's clock; records of such keys live so much longer, too.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A client's key, valid and without quotes. `"k"` and `k` are one key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    text: Box<str>,
    /// When a version 7 UUID was made; only there when the policy asks for it.
    minted: Option<Duration>,
}

/// Shows nothing: who knows the key may be shown the response.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why a key is not accepted. The messages are for the client and never repeat the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("The header is there more than once. Send exactly one key.")]
    Repeated,
    #[error("The key is empty. Send 1 to 255 printable ASCII characters, such as a UUID.")]
    Empty,
    #[error("The key is longer than 255 bytes. Send 1 to 255 printable ASCII characters, such as a UUID.")]
    TooLong,
    #[error("The key has characters that are not printable ASCII. Send 1 to 255 of these, such as a UUID.")]
    NotPrintable,
    #[error("The key starts with a quote but is no RFC 9651 string. Close the quote, and escape \" and \\ in it.")]
    BrokenString,
    #[error("The key is not a UUID, which this operation demands. Send one such as a random (version 4) UUID.")]
    NotUuid,
    #[error("The key is not a UUID of version 7, which this operation demands.")]
    NotUuidV7,
}

/// How a time-stamped key stands to the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// It may be claimed.
    Fresh,
    /// It is older than the ttl: its record may be gone, so nobody can tell whether it ran.
    Expired,
    /// It is further ahead of the store's clock than clocks differ.
    FromTheFuture,
}

impl Key {
    /// Reads all header lines of a request that has at least one.
    pub(crate) fn parse(lines: &[HeaderValue], format: KeyFormat) -> Result<Self, KeyError> {
        let [line] = lines else { return Err(KeyError::Repeated) };
        let text = unquote(line.as_bytes().trim_ascii())?;
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        match format {
            KeyFormat::Any => Ok(Self { text: text.into(), minted: None }),
            KeyFormat::Uuid => {
                let uuid = Uuid::try_parse(&text).map_err(|_| KeyError::NotUuid)?;
                Ok(Self { text: uuid.to_string().into(), minted: None })
            }
            KeyFormat::UuidV7 => {
                let uuid = Uuid::try_parse(&text).map_err(|_| KeyError::NotUuidV7)?;
                if uuid.get_version_num() != 7 {
                    return Err(KeyError::NotUuidV7);
                }
                let (seconds, nanos) = uuid.get_timestamp().ok_or(KeyError::NotUuidV7)?.to_unix();
                Ok(Self { text: uuid.to_string().into(), minted: Some(Duration::new(seconds, nanos)) })
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the key carries a time stamp, so that [`age`](Self::age) has something to judge.
    pub(crate) fn is_dated(&self) -> bool {
        self.minted.is_some()
    }

    /// Judges the key's time stamp, if it has one.
    pub(crate) fn age(&self, now: SystemTime, ttl: Duration) -> Age {
        let Some(minted) = self.minted else { return Age::Fresh };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if minted > now.saturating_add(CLOCK_TOLERANCE) {
            Age::FromTheFuture
        } else if now > minted.saturating_add(ttl) {
            Age::Expired
        } else {
            Age::Fresh
        }
    }
}

fn unquote(value: &[u8]) -> Result<String, KeyError> {
    if !value.iter().all(|byte| (0x20..=0x7e).contains(byte)) {
        return Err(KeyError::NotPrintable);
    }
    if value.first() != Some(&b'"') {
        return String::from_utf8(value.to_vec()).map_err(|_| KeyError::NotPrintable);
    }
    // RFC 9651, section 4.2: an item; parameters that nobody defined are to be ignored.
    let item = sfv::Parser::new(value).parse_item::<sfv::Item>().map_err(|_| KeyError::BrokenString)?;
    match item.bare_item {
        sfv::BareItem::String(text) => Ok(text.into()),
        _ => Err(KeyError::BrokenString),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[u8], format: KeyFormat) -> Result<String, KeyError> {
        Key::parse(&[HeaderValue::from_bytes(line).unwrap()], format).map(|key| key.as_str().to_owned())
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
        let two = [HeaderValue::from_static("a"), HeaderValue::from_static("a")];
        assert_eq!(Key::parse(&two, KeyFormat::Any), Err(KeyError::Repeated));
    }

    #[test]
    fn a_uuid_is_one_key_in_any_case() {
        let lower = parse(b"550e8400-e29b-41d4-a716-446655440000", KeyFormat::Uuid).unwrap();
        assert_eq!(parse(b"\"550E8400-E29B-41D4-A716-446655440000\"", KeyFormat::Uuid).unwrap(), lower);
        assert_eq!(parse(b"order-1", KeyFormat::Uuid), Err(KeyError::NotUuid));
        assert_eq!(parse(lower.as_bytes(), KeyFormat::UuidV7), Err(KeyError::NotUuidV7));
    }

    #[test]
    fn a_dated_key_is_judged_by_the_clock_it_is_given() {
        let minted = Duration::from_secs(1_700_000_000);
        let uuid = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, minted.as_secs(), 0)).to_string();
        let key = Key::parse(&[HeaderValue::from_str(&uuid).unwrap()], KeyFormat::UuidV7).unwrap();
        let ttl = Duration::from_secs(3600);
        let age = |now: Duration| key.age(SystemTime::UNIX_EPOCH + now, ttl);
        assert!(key.is_dated());
        assert_eq!(age(minted), Age::Fresh);
        assert_eq!(age(minted + ttl), Age::Fresh);
        assert_eq!(age(minted + ttl + Duration::from_secs(1)), Age::Expired);
        assert_eq!(age(minted.checked_sub(CLOCK_TOLERANCE).unwrap()), Age::Fresh);
        assert_eq!(age(minted.checked_sub(CLOCK_TOLERANCE + Duration::from_secs(1)).unwrap()), Age::FromTheFuture);
    }
}
