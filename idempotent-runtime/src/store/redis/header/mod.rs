//! The layout of a record in Redis: a header of fixed widths, which a script can read by offset, and then the body.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | layout version: `1`, or `2` for a running record with steps |
//! | 1 | tag: `P` running · `R` running, recovering from an attempt that died · `D` done |
//! | 2–17 | token |
//! | 18–33 | fence, 16 decimal digits |
//! | 34–43 | lease in milliseconds, 10 digits |
//! | 44–56 | how long the record is kept from now on, in milliseconds, 13 digits |
//! | 57–88 | fingerprint |
//! | 89… | done: the body · running, version 2: the steps |
//!
//! The value contains no point in time. The age of a lease follows from `kept − PTTL`, by the server's clock alone.
//! Both durations are in the header, so instances with different settings come to the same result.
//!
//! A version of this crate that does not know steps reads layout 2 as unreadable. If it treated the record as absent,
//! or took it over without its steps, it would repeat their effects.
//!
//! Bytes from the server are not trusted. Another program, or another version of this one, may have written them.

use std::{io::Write as _, time::Duration};

use bytes::{Buf as _, Bytes};

use crate::store::{ClaimRequest, Fingerprint, Token};

const VERSION: u8 = b'1';
const VERSION_WITH_STEPS: u8 = b'2';
const TOKEN: usize = 2;
const FENCE: usize = TOKEN + 16;
const LEASE: usize = FENCE + 16;
const KEPT: usize = LEASE + 10;
const FINGERPRINT: usize = KEPT + 13;

/// Where a header says how long its record is kept.
pub(super) const KEPT_DIGITS: std::ops::Range<usize> = KEPT..FINGERPRINT;

/// How long a header is.
pub(super) const LENGTH: usize = FINGERPRINT + 32;

/// The largest fencing token that Lua can handle, because its numbers are doubles. In microseconds it is the year 2255.
pub(super) const LARGEST_FENCE: u64 = (1 << 53) - 1;

const LONGEST_LEASE: u64 = 9_999_999_999;
const LONGEST_KEPT: u64 = 9_999_999_999_999;

/// The header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: Tag,
    pub(super) token: Token,
    pub(super) fence: u64,
    /// Milliseconds.
    pub(super) lease: u64,
    /// Milliseconds.
    pub(super) kept: u64,
    pub(super) fingerprint: Fingerprint,
}

/// The state of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Running, and no earlier attempt is known.
    Fresh,
    /// Running after an earlier attempt died. The flag is kept with the claim, so that a repeated claim gets the same
    /// answer.
    Recovering,
    /// Finished; the body follows.
    Done,
}

impl Header {
    /// The header of a claim. It is kept for the lease and then for the ttl.
    pub(super) fn running(attempt: &ClaimRequest, fence: u64) -> Self {
        let (lease, ttl) = (millis(attempt.lease).min(LONGEST_LEASE), millis(attempt.ttl));
        Self::new(Tag::Fresh, attempt, fence, lease, lease.saturating_add(ttl))
    }

    /// The header of a finished record. It is kept for the ttl.
    pub(super) fn done(attempt: &ClaimRequest, fence: u64) -> Self {
        Self::new(Tag::Done, attempt, fence, millis(attempt.lease).min(LONGEST_LEASE), millis(attempt.ttl))
    }

    fn new(tag: Tag, attempt: &ClaimRequest, fence: u64, lease: u64, kept: u64) -> Self {
        Self {
            tag,
            token: attempt.token,
            fence: fence.min(LARGEST_FENCE),
            lease,
            kept: kept.min(LONGEST_KEPT),
            fingerprint: attempt.fingerprint,
        }
    }

    /// The bytes before the body or the steps.
    pub(super) fn encode(&self, has_steps: bool) -> [u8; LENGTH] {
        let mut header = [0; LENGTH];
        let mut rest = header.as_mut_slice();
        let mut write = |part: &[u8]| {
            // The parts are as long as the header.
            let _ = rest.write_all(part);
        };
        write(&[if has_steps { VERSION_WITH_STEPS } else { VERSION }, self.tag.byte()]);
        write(self.token.as_bytes());
        write(&digits::<16>(self.fence));
        write(&digits::<10>(self.lease));
        write(&digits::<13>(self.kept));
        write(self.fingerprint.as_bytes());
        header
    }

    /// Reads a record. `None` when it does not have this layout. The body is not copied.
    pub(super) fn decode(value: Vec<u8>) -> Option<(Self, Bytes)> {
        let (version, rest) = value.split_first()?;
        let (tag, rest) = rest.split_first()?;
        let (token, rest) = rest.split_first_chunk::<16>()?;
        let (fence, rest) = rest.split_first_chunk::<16>()?;
        let (lease, rest) = rest.split_first_chunk::<10>()?;
        let (kept, rest) = rest.split_first_chunk::<13>()?;
        let (fingerprint, body) = rest.split_first_chunk::<32>()?;
        let header = Self {
            tag: Tag::from_byte(*tag)?,
            token: Token::from_bytes(*token),
            fence: number(fence).filter(|fence| *fence <= LARGEST_FENCE)?,
            lease: number(lease)?,
            kept: number(kept)?,
            fingerprint: Fingerprint::from_bytes(*fingerprint),
        };
        let sound = match (*version, header.tag) {
            (VERSION, Tag::Done) => true,
            (VERSION, _) => body.is_empty() && header.lease <= header.kept,
            (VERSION_WITH_STEPS, Tag::Recovering) => !body.is_empty() && header.lease <= header.kept,
            _ => false,
        };
        sound.then(|| {
            let mut body = Bytes::from(value);
            body.advance(LENGTH);
            (header, body)
        })
    }

    /// The rest of the lease, if the record expires in `pttl` milliseconds. Zero once the lease is over. `None` when
    /// the record never expires.
    pub(super) fn lease_left(&self, pttl: i64) -> Option<Duration> {
        let pttl = u64::try_from(pttl).ok()?;
        Some(Duration::from_millis(self.lease.saturating_add(pttl).saturating_sub(self.kept)))
    }
}

impl Tag {
    fn byte(self) -> u8 {
        match self {
            Self::Fresh => b'P',
            Self::Recovering => b'R',
            Self::Done => b'D',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Fresh, Self::Recovering, Self::Done].into_iter().find(|tag| tag.byte() == byte)
    }
}

/// Whole milliseconds, rounded up and never 0: Redis refuses an expiry of 0.
fn millis(duration: Duration) -> u64 {
    let (whole, rest) = (duration.as_secs().saturating_mul(1_000), duration.subsec_nanos().div_ceil(1_000_000));
    whole.saturating_add(u64::from(rest)).max(1)
}

/// A decimal number with `N` digits, filled up with zeros.
pub(super) fn digits<const N: usize>(number: u64) -> [u8; N] {
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
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
