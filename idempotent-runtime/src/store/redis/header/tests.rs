use proptest::prelude::*;

use super::*;
use crate::store::StoreKey;

fn attempt(lease: u64, ttl: u64) -> ClaimRequest {
    let mut attempt = ClaimRequest::new(StoreKey::new("key"), Fingerprint::from_bytes([7; 32]));
    attempt.lease = Duration::from_millis(lease);
    attempt.ttl = Duration::from_millis(ttl);
    attempt
}

/// A whole record, the body or the steps behind the header.
fn record(header: &Header, body: &[u8]) -> Vec<u8> {
    [&header.encode(header.tag != Tag::Done && !body.is_empty()), body].concat()
}

fn headers() -> impl Strategy<Value = Header> {
    let tags = prop_oneof![Just(Tag::Fresh), Just(Tag::Recovering), Just(Tag::Done)];
    (tags, any::<[u8; 16]>(), 0..=LARGEST_FENCE, 0..=LONGEST_LEASE, 0..=LONGEST_KEPT, any::<[u8; 32]>()).prop_map(
        |(tag, token, fence, lease, kept, fingerprint)| Header {
            tag,
            token: Token::from_bytes(token),
            fence,
            lease: lease.min(kept),
            kept,
            fingerprint: Fingerprint::from_bytes(fingerprint),
        },
    )
}

proptest! {
    #[test]
    fn what_was_written_is_read(header in headers(), body in any::<Vec<u8>>()) {
        // Steps make a running record a recovering one.
        let body = if header.tag == Tag::Fresh { Vec::new() } else { body };
        let (read, rest) = Header::decode(record(&header, &body)).expect("a record of our own");
        prop_assert_eq!(read, header);
        prop_assert_eq!(rest, body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = Header::decode(bytes);
    }

    #[test]
    fn a_cut_record_is_no_record(header in headers(), length in 0..LENGTH) {
        let mut bytes = record(&header, b"");
        bytes.truncate(length);
        prop_assert_eq!(Header::decode(bytes), None);
    }

    /// A flipped bit is either seen or lands in a field where every value makes sense: it never moves a boundary.
    #[test]
    fn a_damaged_record_keeps_its_shape(header in headers(), at in 0..LENGTH, bit in 0..8_u8) {
        let mut bytes = record(&header, b"");
        bytes[at] ^= 1 << bit;
        if let Some((read, body)) = Header::decode(bytes.clone()) {
            prop_assert_eq!(record(&read, &body), bytes);
        }
    }

    #[test]
    fn any_attempt_has_a_header_that_can_be_read(
        lease in any::<u64>(), ttl in any::<u64>(), fence in any::<u64>(),
    ) {
        let attempt = attempt(lease, ttl);
        for header in [Header::running(&attempt, fence), Header::done(&attempt, fence)] {
            prop_assert!(header.kept > 0 && header.lease > 0);
            let (read, _) = Header::decode(record(&header, b"")).expect("a record of our own");
            prop_assert_eq!(read, header);
        }
    }

    #[test]
    fn the_age_of_a_lease_follows_from_what_is_left_of_the_record(lease in 1..86_400_000_u64, ttl in 1..1u64 << 40, age: u32) {
        let header = Header::running(&attempt(lease, ttl), 1);
        let age = u64::from(age).min(header.kept - 1);
        let pttl = i64::try_from(header.kept - age).expect("13 digits");
        let left = header.lease_left(pttl).expect("it expires");
        prop_assert_eq!(left, Duration::from_millis(lease.saturating_sub(age)));
    }
}

#[test]
fn the_scripts_read_the_same_offsets() {
    assert_eq!((TOKEN, FENCE, LEASE, KEPT, FINGERPRINT, LENGTH), (2, 18, 34, 44, 57, 89));
    let bytes = Header::running(&attempt(30_000, 86_400_000), 1_700_000_000_000_001).encode(false);
    assert_eq!(&bytes[..2], b"1P");
    assert_eq!(&bytes[FENCE..FINGERPRINT], b"170000000000000100000300000000086430000");
}

#[test]
fn a_duration_is_rounded_up_and_never_nothing() {
    assert_eq!(millis(Duration::ZERO), 1);
    assert_eq!(millis(Duration::from_micros(1)), 1);
    assert_eq!(millis(Duration::from_micros(1_001)), 2);
    assert_eq!(millis(Duration::MAX), u64::MAX);
}

#[test]
fn what_is_not_ours_is_refused() {
    let good = record(&Header::running(&attempt(1, 1), 1), b"");
    let damaged = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Header::decode(bytes)
    };
    assert_eq!(damaged(0, b'3'), None, "a later version");
    assert_eq!(damaged(0, b'2'), None, "the version with steps, without any");
    assert_eq!(damaged(1, b'X'), None, "an unknown tag");
    assert_eq!(damaged(FENCE, b'+'), None, "a sign is no digit");
    let beyond = Header { fence: LARGEST_FENCE + 1, ..Header::running(&attempt(1, 1), 1) };
    assert_eq!(Header::decode(record(&beyond, b"")), None, "a fence that Lua cannot count to");
    assert_eq!(damaged(LEASE, b'9'), None, "a lease longer than the record");
    assert_eq!(Header::decode([good.as_slice(), b"body"].concat()), None, "a running record with a body");
    let steps = record(&Header { tag: Tag::Recovering, ..Header::running(&attempt(1, 1), 1) }, b"steps");
    assert_eq!(&steps[..2], b"2R", "a release without steps has to refuse it");
    assert_eq!(Header::running(&attempt(1, 1), 1).lease_left(-1), None, "it never expires");
}
