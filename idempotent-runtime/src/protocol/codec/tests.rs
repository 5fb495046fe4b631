use proptest::prelude::*;

use super::*;

fn head() -> Head {
    Head {
        token: Token::from_bytes([b't'; 16]),
        change: Change::FIRST,
        state: State::Running { recovering: false },
        fence: 1_700_000_000_000_001,
        lease: Duration::from_secs(30),
        kept: Duration::from_secs(86_430),
        fingerprint: Fingerprint::from_bytes([b'f'; 32]),
    }
}

fn record(head: &Head, body: &[u8]) -> Vec<u8> {
    [&head.encode(!body.is_empty()), body].concat()
}

fn states() -> impl Strategy<Value = State> {
    let running = any::<bool>().prop_map(|recovering| State::Running { recovering });
    prop_oneof![running, Just(State::Done), Just(State::Freed)]
}

prop_compose! {
    fn heads()(
        state in states(),
        token in any::<[u8; 16]>(),
        change in prop_oneof![1..9_u64, 9_000_000_000_000_000..9_000_000_000_000_003_u64],
        fence in 0..=Head::LARGEST_FENCE,
        lease in 0..=LONGEST_LEASE,
        kept in 0..=LONGEST_KEPT,
        fingerprint in any::<[u8; 32]>(),
    ) -> Head {
        Head {
            token: Token::from_bytes(token),
            change: Change::new(change),
            state,
            fence,
            lease: Duration::from_millis(lease.min(kept)),
            kept: Duration::from_millis(kept),
            fingerprint: Fingerprint::from_bytes(fingerprint),
        }
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(head in heads(), body in any::<Vec<u8>>()) {
        let body = if head.state == State::Freed { Vec::new() } else { body };
        let (read, rest) = Head::decode(record(&head, &body)).expect("a record of our own");
        prop_assert_eq!(read, head);
        prop_assert_eq!(rest, body);
    }

    /// As when a body that is there is kept: it may be empty.
    #[test]
    fn a_head_before_an_unknown_body_is_read(head in heads()) {
        let (read, rest) = Head::decode(head.encode(true).to_vec()).expect("a record of our own");
        prop_assert_eq!(read, head);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let _ = Head::decode(bytes);
    }

    #[test]
    fn a_cut_head_is_no_record(head in heads(), length in 0..SHORT) {
        let mut bytes = record(&head, b"");
        bytes.truncate(length);
        prop_assert_eq!(Head::decode(bytes), None);
    }

    /// A flipped bit is either seen or lands in a field where every value makes sense: it never moves a boundary,
    /// except in the byte that names the layout.
    #[test]
    fn a_damaged_record_keeps_its_shape(head in heads(), at in 1..SHORT, bit in 0..8_u8) {
        let mut bytes = record(&head, b"");
        bytes[at] ^= 1 << bit;
        let general = bytes[0] == GENERAL;
        if let Some((read, body)) = Head::decode(bytes.clone()) {
            prop_assert_eq!(&body[..], b"");
            prop_assert_eq!(&read.encode(general)[1..SHORT], &bytes[1..SHORT]);
        }
    }

    #[test]
    fn any_durations_and_fence_can_be_read(lease in any::<u64>(), ttl in any::<u64>(), fence in any::<u64>()) {
        let (lease, ttl) = (Duration::from_millis(lease), Duration::from_millis(ttl));
        let head = Head { fence, lease, kept: lease.saturating_add(ttl), ..head() };
        let (read, _) = Head::decode(record(&head, b"")).expect("a record of our own");
        prop_assert_eq!(read.kept_millis(), head.kept_millis());
    }

    #[test]
    fn the_rest_of_a_lease_follows_from_the_rest_of_the_record(lease in 1..86_400_000_u64, ttl in 1..1u64 << 40, age: u32) {
        let (lease, ttl) = (Duration::from_millis(lease), Duration::from_millis(ttl));
        let head = Head { lease, kept: lease + ttl, ..head() };
        let age = Duration::from_millis(u64::from(age)).min(head.kept);
        prop_assert_eq!(head.lease_left(head.kept.saturating_sub(age)), lease.saturating_sub(age));
    }
}

#[test]
fn the_scripts_read_the_same_offsets() {
    let bytes = head().encode(false).to_vec();
    assert_eq!(bytes.len(), 89);
    assert_eq!(&bytes[..2], b"1P");
    assert_eq!(&bytes[2..18], [b't'; 16]);
    assert_eq!(&bytes[18..57], b"170000000000000100000300000000086430000");
    assert_eq!(&bytes[57..89], [b'f'; 32]);
    let general = head().encode(true).to_vec();
    assert_eq!(&general[..2], b"3P");
    assert_eq!(&general[2..89], &bytes[2..89]);
    assert_eq!(&general[89..], b"0000000000000001");
}

#[test]
fn what_nearly_every_request_writes_has_89_bytes() {
    let taken_over = Head { state: State::Running { recovering: true }, change: Change::TAKEOVER, ..head() };
    let done = Head { state: State::Done, change: Change::COMPLETED, ..head() };
    for (head, with_body) in [(&head(), false), (&taken_over, false), (&done, true), (&done, false)] {
        assert_eq!(head.encode(with_body).len(), 89, "{head:?}");
    }
    let renewed = Head { change: Change::COUNTED, ..head() };
    let freed = Head { state: State::Freed, change: Change::FREED, ..head() };
    let replaced = Head { change: Change::REPLACED, ..done };
    for (head, with_body) in [(&renewed, false), (&freed, false), (&replaced, true), (&taken_over, true)] {
        assert_eq!(head.encode(with_body).len(), 105, "{head:?}");
    }
}

#[test]
fn a_duration_is_rounded_up() {
    assert_eq!(millis(Duration::ZERO), 0);
    assert_eq!(millis(Duration::from_micros(1)), 1);
    assert_eq!(millis(Duration::from_micros(1_001)), 2);
    assert_eq!(millis(Duration::MAX), u64::MAX);
}

#[test]
fn what_is_not_ours_is_refused() {
    let good = record(&head(), b"");
    let damaged = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Head::decode(bytes)
    };
    assert_eq!(damaged(0, b'4'), None, "a later layout");
    assert_eq!(damaged(0, b'2'), None, "the old layout with steps, without any");
    assert_eq!(damaged(0, b'3'), None, "a layout with a change, without one");
    assert_eq!(damaged(1, b'X'), None, "an unknown state");
    assert_eq!(damaged(1, b'F'), None, "no layout 1 of a freed key");
    assert_eq!(damaged(18, b'+'), None, "a sign is no digit");
    assert_eq!(damaged(18, b'9'), None, "a fence that Lua cannot count to");
    assert_eq!(damaged(34, b'9'), None, "a lease longer than the record");
    assert_eq!(Head::decode([good.as_slice(), b"body"].concat()), None, "a running record with a body");
    let freed = Head { state: State::Freed, change: Change::FREED, ..head() };
    assert_eq!(Head::decode(record(&freed, b"body")), None, "a freed key with a body");
}

/// The bytes of every layout that a version has written, as files.
#[test]
fn the_records_of_version_0_1_are_read() {
    let read = |bytes: &'static [u8]| Head::decode(bytes).expect("a record");
    let running = Head { fence: 1_764_000_000_000_001, lease: Duration::from_secs(30), ..head() };
    let recovering = State::Running { recovering: true };
    for (bytes, promised, body) in [
        (&include_bytes!("old/1-running")[..], running.clone(), &b""[..]),
        (
            include_bytes!("old/1-recovering"),
            Head { state: recovering, change: Change::TAKEOVER, ..running.clone() },
            b"",
        ),
        (
            include_bytes!("old/2-steps"),
            Head { state: recovering, change: Change::TAKEOVER, ..running.clone() },
            b"steps\0\xff",
        ),
        (
            include_bytes!("old/1-done"),
            Head { state: State::Done, change: Change::COMPLETED, kept: Duration::from_secs(86_400), ..running },
            b"response\r\n\0\xff",
        ),
    ] {
        assert_eq!(read(bytes), (promised, Bytes::from_static(body)));
    }
}

#[test]
fn the_bytes_of_a_head_show_no_token() {
    assert_eq!(format!("{:?}", head().encode(false)), "HeadBytes(89 bytes)");
}

#[test]
fn a_number_has_at_most_nineteen_digits() {
    assert_eq!(number(&[b'9'; 19]), Some(9_999_999_999_999_999_999));
    assert!([20, 21, 200].iter().all(|&length| number(&vec![b'9'; length]).is_none()));
}
