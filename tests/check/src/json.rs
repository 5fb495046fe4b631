//! Other forms of a JSON body: another value, the same value written in another way.

use serde_json::{Number, Value};

/// The body with another value of one member: `NAME`, `NAME.NAME` or `NAME=VALUE`.
pub(crate) fn varied(body: &str, member: &str) -> Result<String, String> {
    let (path, given) = member.split_once('=').map_or((member, None), |(path, value)| (path, Some(value)));
    let mut root: Value = serde_json::from_str(body)
        .map_err(|error| format!("--vary needs a JSON body ({error}); for another format give --other-body"))?;
    let found = root.pointer_mut(&format!("/{}", path.replace('.', "/")));
    let found = found.ok_or_else(|| format!("--vary: the body has no member `{path}`"))?;
    *found = match (given, &*found) {
        (Some(text), _) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        (None, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::from(number.wrapping_add(1)),
            (None, number) => Value::from(number.unwrap_or_default() + 1.0),
        },
        (None, Value::String(text)) => Value::String(format!("{text}x")),
        (None, Value::Bool(value)) => Value::Bool(!value),
        (None, _) => return Err(format!("--vary: write the other value: {path}=VALUE")),
    };
    Ok(root.to_string())
}

/// The body as this program writes it. Bodies that are made from it differ only in what is meant.
pub(crate) fn plain(body: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(value.to_string().into_bytes())
}

/// The same members in another order. `None` without two members.
pub(crate) fn reordered(body: &[u8]) -> Option<Vec<u8>> {
    let Value::Object(members) = serde_json::from_slice(body).ok()? else { return None };
    if members.len() < 2 {
        return None;
    }
    let write = |(name, value): (&String, &Value)| format!("{}:{value}", Value::from(name.as_str()));
    let written: Vec<String> = members.iter().rev().map(write).collect();
    Some(format!("{{{}}}", written.join(",")).into_bytes())
}

/// The same value with more white space.
pub(crate) fn spaced(body: &[u8]) -> Option<Vec<u8>> {
    let plain = plain(body)?;
    let start = usize::from(matches!(plain.first(), Some(b'{' | b'[')));
    let (first, rest) = plain.split_at_checked(start)?;
    Some([first, b" \n", rest].concat())
}

/// The first whole number as one with a fraction of zero. `None` without a whole number.
pub(crate) fn with_fraction(body: &[u8]) -> Option<Vec<u8>> {
    let mut root: Value = serde_json::from_slice(body).ok()?;
    let number = first_whole_number(&mut root)?;
    // Beyond 2^53 the fraction would change the value.
    #[allow(clippy::cast_precision_loss)]
    let with_fraction = number.as_i64().filter(|whole| whole.unsigned_abs() < 1 << 53).map(|whole| whole as f64)?;
    *number = Value::Number(Number::from_f64(with_fraction)?);
    Some(root.to_string().into_bytes())
}

/// One more member, whose value is null. `None` if the body is no object.
pub(crate) fn with_null(body: &[u8]) -> Option<Vec<u8>> {
    let Value::Object(mut members) = serde_json::from_slice(body).ok()? else { return None };
    members.insert("idempotency_check".to_owned(), Value::Null);
    Some(Value::Object(members).to_string().into_bytes())
}

fn first_whole_number(value: &mut Value) -> Option<&mut Value> {
    if value.is_i64() {
        return Some(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().find_map(first_whole_number),
        Value::Object(members) => members.values_mut().find_map(first_whole_number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_gets_another_value() {
        let body = r#"{"a":{"b":1},"c":"x","d":true,"e":null,"f":1.5}"#;
        for (member, expected) in [
            ("a.b", r#""b":2"#),
            ("c", r#""c":"xx""#),
            ("d", r#""d":false"#),
            ("f", r#""f":2.5"#),
            ("c=[1]", r#""c":[1]"#),
            ("e=text", r#""e":"text""#),
        ] {
            assert!(varied(body, member).unwrap().contains(expected), "{member}");
        }
        assert!(varied(body, "e").unwrap_err().contains("e=VALUE"));
        assert!(varied(body, "g").unwrap_err().contains("no member `g`"));
        assert!(varied("amount=1", "amount").unwrap_err().contains("--other-body"));
    }

    #[test]
    fn the_same_value_is_written_in_other_ways() {
        let body = br#"{ "b": [7], "a": null }"#;
        assert_eq!(plain(body).unwrap(), br#"{"a":null,"b":[7]}"#);
        assert_eq!(reordered(body).unwrap(), br#"{"b":[7],"a":null}"#);
        assert_eq!(spaced(body).unwrap(), b"{ \n\"a\":null,\"b\":[7]}");
        assert_eq!(with_fraction(body).unwrap(), br#"{"a":null,"b":[7.0]}"#);
        assert_eq!(with_null(body).unwrap(), br#"{"a":null,"b":[7],"idempotency_check":null}"#);
        assert_eq!(spaced(b"7").unwrap(), b" \n7");
        assert!(reordered(b"7").is_none() && with_null(b"[]").is_none() && with_fraction(b"{}").is_none());
    }
}
