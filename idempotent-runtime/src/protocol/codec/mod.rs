//! A record as bytes, for stores that keep bytes: the head in fixed widths, which a script can read by offset, and then
//! the body.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | layout |
//! | 1 | state: `P` running · `R` running, recovering · `D` done · `F` freed |
//! | 2–17 | token |
//! | 18–33 | fence, 16 decimal digits |
//! | 34–43 | lease in milliseconds, 10 digits |
//! | 44–56 | how long the record is kept, in milliseconds, 13 digits |
//! | 57–88 | fingerprint |
//! | 89–104 | layout 3 only: change, 16 digits |
//! | then | the body |
//!
//! Layout `1` is for the records that nearly every request writes. Its changes follow from the state: `P` 1, `R` 2, `D`
//! [`Change::COMPLETED`]. A running record has no body in it. Layout `2` is read and no longer written: version 0.1 wrote
//! it for a running record with steps, and its change is 2. Layout `3` is for all other records.
//!
//! The bytes contain no point in time. The rest of a lease follows from how long the store still keeps the record
//! ([`Head::lease_left`]).
//!
//! Bytes from a store are not trusted. Another program, or another version of this one, may have written them.

use std::{fmt, io::Write as _, ops::Deref, time::Duration};

use bytes::{Buf as _, Bytes};

use super::{Change, Fingerprint, Head, State, Token};

const COMMON: u8 = b'1';
const OLD_WITH_STEPS: u8 = b'2';
const GENERAL: u8 = b'3';

/// How long a head is in layouts 1 and 2.
const SHORT: usize = 89;
/// How long a head is in layout 3.
const LONG: usize = SHORT + 16;

const LONGEST_LEASE: u64 = 9_999_999_999;
const LONGEST_KEPT: u64 = 9_999_999_999_999;

/// A head as bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeadBytes {
    bytes: [u8; LONG],
    length: usize,
}

/// Prints nothing of the bytes, because the token is among them.
impl fmt::Debug for HeadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadBytes({} bytes)", self.length)
    }
}

impl Deref for HeadBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Head {
    /// The bytes before the body.
    ///
    /// `with_body`: a body follows, or may follow because the one that is there is kept.
    #[must_use]
    pub fn encode(&self, with_body: bool) -> HeadBytes {
        let (layout, length) = match (self.state, self.change, with_body) {
            (State::Running { recovering: false }, Change::FIRST, false)
            | (State::Running { recovering: true }, Change::TAKEOVER, false)
            | (State::Done, Change::COMPLETED, _) => (COMMON, SHORT),
            _ => (GENERAL, LONG),
        };
        let mut bytes = [0; LONG];
        let mut rest = bytes.as_mut_slice();
        let mut write = |part: &[u8]| {
            // The parts are as long as the array.
            let _ = rest.write_all(part);
        };
        write(&[layout, self.state.byte()]);
        write(self.token.as_bytes());
        write(&digits::<16>(self.fence.min(Self::LARGEST_FENCE)));
        write(&digits::<10>(millis(self.lease).min(LONGEST_LEASE)));
        write(&digits::<13>(self.kept_millis()));
        write(self.fingerprint.as_bytes());
        write(&self.change.digits());
        HeadBytes { bytes, length }
    }

    /// The head and the body of a record. `None` if these bytes are not a record. The body is not copied.
    #[must_use]
    pub fn decode(record: impl Into<Bytes>) -> Option<(Self, Bytes)> {
        let mut record = record.into();
        let (layout, rest) = record.split_first()?;
        let (state, rest) = rest.split_first()?;
        let (token, rest) = rest.split_first_chunk::<16>()?;
        let (fence, rest) = rest.split_first_chunk::<16>()?;
        let (lease, rest) = rest.split_first_chunk::<10>()?;
        let (kept, rest) = rest.split_first_chunk::<13>()?;
        let (fingerprint, rest) = rest.split_first_chunk::<32>()?;
        let state = State::from_byte(*state)?;
        let (change, length) = match (*layout, state, rest.is_empty()) {
            (COMMON, State::Running { recovering: false }, true) => (Change::FIRST, SHORT),
            (COMMON, State::Running { recovering: true }, true)
            | (OLD_WITH_STEPS, State::Running { recovering: true }, false) => (Change::TAKEOVER, SHORT),
            (COMMON, State::Done, _) => (Change::COMPLETED, SHORT),
            (GENERAL, ..) => (Change::new(number(rest.first_chunk::<16>()?)?), LONG),
            _ => return None,
        };
        let head = Self {
            token: Token::from_bytes(*token),
            change,
            state,
            fence: number(fence).filter(|fence| *fence <= Self::LARGEST_FENCE)?,
            lease: Duration::from_millis(number(lease)?),
            kept: Duration::from_millis(number(kept)?),
            fingerprint: Fingerprint::from_bytes(*fingerprint),
        };
        let is_sound = match state {
            State::Running { .. } => head.lease <= head.kept,
            State::Done => true,
            State::Freed => record.len() == length,
        };
        record.advance(length);
        is_sound.then_some((head, record))
    }

    /// [`kept`](Self::kept) in whole milliseconds, as it is written. Zero only if `kept` is.
    #[must_use]
    pub fn kept_millis(&self) -> u64 {
        millis(self.kept).min(LONGEST_KEPT)
    }
}

impl Change {
    /// The number with 16 digits, as it is written.
    pub(crate) fn digits(self) -> [u8; 16] {
        digits(self.number())
    }
}

impl State {
    fn byte(self) -> u8 {
        match self {
            Self::Running { recovering: false } => b'P',
            Self::Running { recovering: true } => b'R',
            Self::Done => b'D',
            Self::Freed => b'F',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'P' => Self::Running { recovering: false },
            b'R' => Self::Running { recovering: true },
            b'D' => Self::Done,
            b'F' => Self::Freed,
            _ => return None,
        })
    }
}

/// Whole milliseconds, rounded up.
fn millis(duration: Duration) -> u64 {
    let (whole, rest) = (duration.as_secs().saturating_mul(1_000), duration.subsec_nanos().div_ceil(1_000_000));
    whole.saturating_add(u64::from(rest))
}

/// A decimal number with `N` digits, filled up with zeros.
pub(crate) fn digits<const N: usize>(number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    let (high, low) = digits.split_at_mut(N.saturating_sub(8));
    // Two numbers of eight digits, since divisions of 32 bits are cheaper than those of 64.
    for (digits, number) in [(high, number / 100_000_000), (low, number % 100_000_000)] {
        let mut number = u32::try_from(number).unwrap_or(u32::MAX);
        for digit in digits.iter_mut().rev() {
            *digit += (number % 10).to_le_bytes()[0];
            number /= 10;
        }
    }
    digits
}

/// Reads decimal digits and nothing else. `str::parse` would accept a sign. At most nineteen, which fit into 64 bits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
