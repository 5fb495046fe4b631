//! The trace of the request that a stored response was made for.

use std::sync::Arc;

/// The `traceparent` (W3C Trace Context) of the request that a replayed response was made for.
///
/// It is in the extensions of a replay, so that an outer layer can link the replay to the first run. The cookbook shows how.
/// A response is stored with it if its request had a valid `traceparent` of version 00.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstTraceparent(Arc<[u8; LENGTH]>);

/// The length of version 00: four fields in hexadecimal, with hyphens between them.
const LENGTH: usize = 55;

impl FirstTraceparent {
    /// `None` if it is not valid: neither a request nor a store is trusted.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() == LENGTH)?;
        let mut fields = text.split('-');
        let mut field = |length| {
            let is_hex = |field: &&str| field.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            fields.next().filter(|field| field.len() == length).filter(is_hex)
        };
        let (version, trace, parent, _flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let is_set = |id: &str| id.bytes().any(|c| c != b'0');
        let is_valid = version == "00" && is_set(trace) && is_set(parent);
        value.try_into().ok().filter(|_| is_valid).map(|value| Self(Arc::new(value)))
    }

    /// The value of the header, such as `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&*self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_calls_valid_is_kept() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(FirstTraceparent::parse(valid.as_bytes()).unwrap().as_str(), valid);
        for invalid in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\n-01",
        ] {
            assert_eq!(FirstTraceparent::parse(invalid.as_bytes()), None, "{invalid:?}");
        }
    }
}
