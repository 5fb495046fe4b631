//! Writes a `Content-Type` in one canonical form, so that two values that differ only in case and white space are
//! equal. Pure.

/// Appends a media type (RFC 9110, section 8.3.1): type, subtype, parameter names and the charset in lower case,
/// without white space, and without quotes where they are not needed. A value that is no media type is appended
/// unchanged.
pub(super) fn push_canonical(out: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if value == b"application/json" || is_canonical(value) {
        out.extend_from_slice(value);
        return;
    }
    for (index, part) in parts(value).map(<[u8]>::trim_ascii).enumerate() {
        if index == 0 {
            out.extend(part.iter().map(u8::to_ascii_lowercase));
        } else if !part.is_empty() {
            out.push(b';');
            push_parameter(out, part);
        }
    }
}

/// Whether the value has this form already. Most values do, and need no work.
fn is_canonical(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'+' | b'.'))
}

fn push_parameter(out: &mut Vec<u8>, part: &[u8]) {
    let Some(at) = part.iter().position(|&byte| byte == b'=') else { return out.extend_from_slice(part) };
    let (name, value) = (&part.get(..at).unwrap_or_default(), part.get(at + 1..).unwrap_or_default());
    let (name, value) = (name.trim_ascii(), value.trim_ascii());
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b'=');
    let value = unquoted(value);
    // The names of character sets are compared without case. A multipart boundary is not.
    if name.eq_ignore_ascii_case(b"charset") {
        out.extend(value.iter().map(u8::to_ascii_lowercase));
    } else {
        out.extend_from_slice(value);
    }
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

/// Splits at the semicolons that are not inside a quoted string.
fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        byte == b';' && !quoted
    })
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
            "application/json;charset=utf-8",
            "Application/JSON; Charset=UTF-8",
            " application/json ;\tcharset=\"utf-8\" ",
            "application/json;; charset=utf-8;",
        ] {
            assert_eq!(canonical(same), "application/json;charset=utf-8");
        }
    }

    #[test]
    fn a_boundary_keeps_its_case_and_a_quoted_semicolon_parts_nothing() {
        assert_eq!(canonical("multipart/form-data; boundary=AaB"), "multipart/form-data;boundary=AaB");
        assert_eq!(canonical("text/plain; a=\"x; \\\" Y\"; B=c"), "text/plain;a=\"x; \\\" Y\";b=c");
    }

    #[test]
    fn another_type_stays_another() {
        for other in ["text/plain", "application/json", "application/json;charset=latin1", "", ";", "="] {
            assert_ne!(canonical(other), canonical("application/json; charset=utf-8"));
        }
    }
}
