//! Reads a ULID: 26 characters of Crockford's base 32, of which the first ten are the time at which it was made. Pure.

use std::time::Duration;

const LENGTH: usize = 26;
const LENGTH_OF_TIME: usize = 10;

/// The time at which a ULID was made. `None` if the text is not a ULID.
pub(super) fn made_at(text: &str) -> Option<Duration> {
    // The first character has three bits, or the number would have more than 128.
    if text.len() != LENGTH || text.bytes().next().and_then(digit)? > 7 {
        return None;
    }
    let millis = text.bytes().enumerate().try_fold(0, |time, (at, letter)| {
        let digit = digit(letter)?;
        Some(if at < LENGTH_OF_TIME { time << 5 | digit } else { time })
    });
    millis.map(Duration::from_millis)
}

fn digit(letter: u8) -> Option<u64> {
    let position = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".iter().position(|known| *known == letter.to_ascii_uppercase());
    position.map(|value| value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_in_any_case() {
        // The example of the specification.
        assert_eq!(made_at("01ARZ3NDEKTSV4RRFFQ69G5FAV"), Some(Duration::from_millis(1_469_922_850_259)));
        assert_eq!(made_at("01arz3ndektsv4rrffq69g5fav"), made_at("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
        assert_eq!(made_at("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), Some(Duration::from_millis((1 << 48) - 1)));
    }

    #[test]
    fn another_text_is_no_ulid() {
        for text in ["", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAU", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert_eq!(made_at(text), None, "{text}");
        }
    }
}
