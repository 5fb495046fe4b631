//! Bytes that are made of numbers and of parts with their lengths before them. Pure.

/// Appends a number in seven bits a byte. The last byte is below 128.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(0x80 | (number.to_le_bytes()[0] & 0x7f));
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends a part, preceded by its length.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, part: &[u8]) {
    push_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// Takes a number from the beginning. `None` if the bytes do not begin with one.
#[inline]
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        // The tenth byte has room for one bit.
        if shift == 63 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte <= 0x7f {
            return Some(number);
        }
        shift += 7;
    }
}

/// Takes a part from the beginning. `None` if the bytes do not begin with one.
#[inline]
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_parts_come_back() {
        let numbers = [0, 1, 127, 128, 300, 16_383, 16_384, u64::MAX - 1, u64::MAX];
        let mut out = Vec::new();
        for number in numbers {
            push_number(&mut out, number);
            push(&mut out, &number.to_be_bytes());
        }
        let mut rest = out.as_slice();
        for number in numbers {
            assert_eq!(take_number(&mut rest), Some(number));
            assert_eq!(take(&mut rest), Some(&number.to_be_bytes()[..]));
        }
        assert!(rest.is_empty() && take_number(&mut rest).is_none());
        assert!(take(&mut &[2, 0][..]).is_none());
        for too_large in [&[0xff; 20][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert!(take_number(&mut { too_large }).is_none());
        }
    }
}
