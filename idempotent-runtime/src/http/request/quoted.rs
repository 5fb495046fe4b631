//! Splits a header's value where a separator is not inside a quoted string. Pure.

/// The parts between the separators (RFC 9110, section 5.6.4).
pub(super) fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        byte == separator && !quoted
    });
    parts.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_in_quotes_parts_nothing() {
        let parts: Vec<&[u8]> = split(br#"a ,  "b, \", c" ;d,,"#, b',').collect();
        assert_eq!(parts, [&b"a"[..], br#""b, \", c" ;d"#, b"", b""]);
    }
}
