//! Writes a `Content-Type` in one canonical form, so that two values that differ only in case and white space are
//! equal. Pure.

use super::quoted;

/// Appends a media type (RFC 9110, section 8.3.1): type, subtype, parameter names and the charset in lower case,
/// without white space, and without quotes where they are not needed. A value that is no media type is appended
/// unchanged.
pub(super) fn push_canonical(out: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if value == b"application/json" || is_canonical(value) {
        out.extend_from_slice(value);
        return;
    }
    let start = out.len();
    let mut parts = quoted::split(value, b';');
    out.extend(parts.next().unwrap_or_default().iter().map(u8::to_ascii_lowercase));
    let is_always_utf_8 = out.get(start..).is_some_and(is_always_utf_8);
    for (name, value) in parts.filter(|part| !part.is_empty()).map(parameter) {
        let is_charset = name.eq_ignore_ascii_case(b"charset");
        let value = value.map(unquoted);
        if is_charset && is_always_utf_8 && value.is_some_and(|value| value.eq_ignore_ascii_case(b"utf-8")) {
            continue;
        }
        out.push(b';');
        // The names of character sets are compared without case. A multipart boundary is not.
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        if let Some(value) = value {
            out.push(b'=');
            if is_charset {
                out.extend(value.iter().map(u8::to_ascii_lowercase));
            } else {
                out.extend_from_slice(value);
            }
        }
    }
}

/// Whether the value has this form already. Most values do, and need no work.
fn is_canonical(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'+' | b'.'))
}

/// JSON is UTF-8 (RFC 8259, section 8.1), and so are the forms of a browser. There a charset of UTF-8 says nothing new.
fn is_always_utf_8(kind: &[u8]) -> bool {
    kind.ends_with(b"/json") || kind.ends_with(b"+json") || kind == b"application/x-www-form-urlencoded"
}

/// The name of a parameter, and its value if it has one.
fn parameter(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut halves = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::trim_ascii);
    (halves.next().unwrap_or_default(), halves.next())
}

/// Removes the quotes of a quoted string if its content is a valid token.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] if !inner.is_empty() && inner.iter().all(|&byte| is_token(byte)) => inner,
        value => value,
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(value: &str) -> String {
        let mut out = Vec::new();
        push_canonical(&mut out, value.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn case_white_space_and_needless_quotes_make_no_other_type() {
        for same in [
            "text/csv;charset=utf-8",
            "Text/CSV; Charset=UTF-8",
            " text/csv ;\tcharset=\"utf-8\" ",
            "text/csv;; charset=utf-8;",
        ] {
            assert_eq!(canonical(same), "text/csv;charset=utf-8");
        }
    }

    #[test]
    fn utf_8_says_nothing_new_of_json() {
        for same in ["application/json", "Application/JSON; Charset=UTF-8", "application/json;charset=\"utf-8\";"] {
            assert_eq!(canonical(same), "application/json");
        }
        assert_eq!(canonical("application/a+json; charset=utf-8; v=1"), "application/a+json;v=1");
        assert_eq!(canonical("application/json; charset=latin1"), "application/json;charset=latin1");
        assert_eq!(canonical("application/x-json; charset=utf-8"), "application/x-json;charset=utf-8");
    }

    #[test]
    fn a_boundary_keeps_its_case_and_a_quoted_semicolon_parts_nothing() {
        assert_eq!(canonical("multipart/form-data; boundary=AaB"), "multipart/form-data;boundary=AaB");
        assert_eq!(canonical("text/plain; a=\"x; \\\" Y\"; B=c"), "text/plain;a=\"x; \\\" Y\";b=c");
    }

    #[test]
    fn another_type_stays_another() {
        for other in ["text/plain", "text/csv;charset=utf-8", "application/json;charset=latin1", "", ";", "="] {
            assert_ne!(canonical(other), canonical("application/json; charset=utf-8"));
        }
    }
}
