//! Checks single swaps. A store is a register, so what each swap does to each record is all that it does.

use std::time::Duration;

use bytes::Bytes;

use super::case::{Case, LONG, Verdict, attempt, ensure, failed, rival, same};
use crate::store::{Change, ClaimRequest, Expect, Head, Put, Seen, Stamp, State, Store, StoreKey, Swapped};

/// The fence of a record that is there, and of one that is written over it.
const FENCE: u64 = 7;

/// Tries each swap over each record, and compares what the store does with what [`Put::over`] says.
pub(super) async fn each_over_each<S: Store>(case: Case<S>) -> Verdict {
    let own = attempt();
    let counted = [0, 1, 2].map(|more| Change::new(Change::COUNTED.number() + more));
    let changes = [Change::FIRST, Change::TAKEOVER, counted[0], counted[1], Change::COMPLETED, Change::FREED];
    let mut expected = vec![Expect::Absent];
    for (token, change) in [own.token, rival(&own).token].into_iter().flat_map(|it| changes.map(|change| (it, change)))
    {
        expected.extend([Expect::Owner { token, before: change }, Expect::Exactly(Stamp { token, change })]);
    }
    let record = |change, state| Put::new(head(&own, change, state), Bytes::from_static(b"there"));
    let marks = Put { body: Some(Bytes::new()), ..record(Change::FREED, State::Freed) };
    let mut records = vec![
        None,
        Some(record(Change::FIRST, State::Running { recovering: false })),
        Some(record(Change::TAKEOVER, State::Running { recovering: true })),
        Some(record(counted[0], State::Running { recovering: true })),
        Some(record(Change::COMPLETED, State::Done)),
    ];
    // A store that is not shared may drop the mark of a freed key at once.
    records.extend(case.store.is_shared().then_some(Some(marks)));

    let next = rival(&own);
    let put = |change, state| Put::new(head(&next, change, state), Bytes::from_static(b"written\0\xff"));
    let claim = put(Change::FIRST, State::Running { recovering: true });
    let saved = Put { keep_expiry: true, ..put(counted[2], State::Running { recovering: true }) };
    let renewal = Put { body: None, ..put(counted[2], State::Running { recovering: true }) };
    let puts = [claim, put(Change::COMPLETED, State::Done), saved, renewal];
    for record in &records {
        // Body and expiry are kept only of a running record.
        let runs = record.as_ref().is_some_and(|record| matches!(record.head.state, State::Running { .. }));
        let puts: Vec<&Put> = puts.iter().take(if runs { 4 } else { 2 }).collect();
        for (number, expect) in expected.iter().enumerate() {
            // What is refused is tried with one form, each time with the next one.
            for put in puts.iter().cycle().skip(number).take(puts.len()) {
                let wrote = over(&case, record.as_ref(), expect, put).await;
                if !wrote.map_err(|seen| format!("{expect:?} over {record:?}, to write {put:?}: {seen}"))? {
                    break;
                }
            }
        }
    }
    late(&case).await
}

/// The head of a record that is kept for twice its lease.
fn head(of: &ClaimRequest, change: Change, state: State) -> Head {
    let head = Head { state, ..of.running(change, false, FENCE) };
    if state == State::Freed { Head { lease: Duration::ZERO, ..head } } else { head }
}

/// Puts a record under a new key, and then swaps. Returns whether the swap wrote.
async fn over<S: Store>(case: &Case<S>, record: Option<&Put>, expect: &Expect, put: &Put) -> Result<bool, String> {
    let (store, key) = (&case.store, attempt().key);
    if let Some(record) = record {
        let written = store.swap(&key, &Expect::Absent, record).await.map_err(failed("swap"))?;
        ensure(matches!(written, Swapped::Done { .. }), || format!("a free key is answered {written:?}"))?;
    }
    let there = read(case, &key).await?;
    let now = store.now().await.map_err(failed("now"))?;
    ensure(matches!(there, Seen::Absent) == record.is_none(), || format!("{there:?} was read before"))?;
    match (store.swap(&key, expect, put).await.map_err(failed("swap"))?, put.over(there.clone(), expect, now)) {
        (Swapped::Found(found), Err(_)) => {
            same("what was found", &untimed(found), &untimed(there.clone()))?;
            same("what is there then", &untimed(read(case, &key).await?), &untimed(there))?;
            Ok(false)
        }
        (Swapped::Done { fence }, Ok(write)) => {
            let may_be_raised = put.head.change < Change::COUNTED;
            ensure(fence == FENCE || may_be_raised && fence > FENCE, || format!("it has the fence {fence}"))?;
            let seen = read(case, &key).await?;
            let Seen::Record { left: Some(left), .. } = seen else {
                return Err(format!("{seen:?} was read behind it"));
            };
            let head = Head { fence, ..write.head };
            let written = Seen::Record { head, body: Some(write.body), left: None };
            same("what was written", &untimed(seen), &untimed(written))?;
            ensure(left <= write.keep && left + LONG > write.keep, || format!("it is kept for {left:?}"))?;
            Ok(true)
        }
        (answer, _) => Err(format!("the answer is {answer:?}")),
    }
}

async fn read<S: Store>(case: &Case<S>, key: &StoreKey) -> Result<Seen, String> {
    case.store.read(key).await.map_err(failed("read"))
}

/// What was seen, without the times. A store may say how long a record is kept from now on.
fn untimed(seen: Seen) -> Seen {
    match seen {
        Seen::Record { head, body, .. } => {
            let head = Head { lease: Duration::ZERO, kept: Duration::ZERO, ..head };
            Seen::Record { head, body, left: None }
        }
        other => other,
    }
}

/// A write that comes too late.
async fn late<S: Store>(case: &Case<S>) -> Verdict {
    let request = attempt();
    let now = case.store.now().await.map_err(failed("now"))?;
    let put = Put::new(request.running(Change::FIRST, false, 1), Bytes::new());
    let put = Put { not_after: Some(now - Duration::from_secs(60)), ..put };
    match case.store.swap(&request.key, &Expect::Absent, &put).await.map_err(failed("swap"))? {
        Swapped::Late => Ok(()),
        other => Err(format!("a write that came too late was answered {other:?}")),
    }
}
