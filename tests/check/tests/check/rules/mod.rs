//! Each rule switched off: exactly its cases find it.

mod broken;
mod memory;
mod requests;
mod responses;
mod service;

use std::collections::BTreeSet;

use tokio::{sync::Semaphore, task::JoinSet};

use self::{
    broken::Broken,
    service::{Service, start},
};
use crate::tool;

/// A rule that is switched off, and the cases that find it: those that fail or differ with `--strict`.
const TABLE: &[(Broken, &[&str])] = &[
    (Broken::Nothing, &[]),
    (Broken::KeyMissing, &["keys/1"]),
    (Broken::KeyEmpty, &["keys/2"]),
    (Broken::LongKeys, &["keys/3"]),
    (Broken::CutKeys, &["keys/4"]),
    (Broken::NotAscii, &["keys/5"]),
    (Broken::Quotes, &["keys/6"]),
    (Broken::Parameters, &["keys/7"]),
    (Broken::TwoLines, &["keys/8"]),
    (Broken::JoinedLines, &["keys/9"]),
    (Broken::Nil, &["keys/10"]),
    (Broken::HeaderCase, &["keys/11"]),
    (Broken::Status, &["replay/2"]),
    (Broken::Body, &["replay/3"]),
    (Broken::Lost("location"), &["replay/4"]),
    (Broken::Lost("content-type"), &["replay/5"]),
    (Broken::Lost("etag"), &["replay/6"]),
    (Broken::Lost("idempotent-replayed"), &["replay/7"]),
    (Broken::Replayed("set-cookie"), &["replay/8"]),
    (Broken::Replayed("date"), &["replay/9"]),
    (Broken::Replayed("x-request-id"), &["replay/10"]),
    (Broken::Replayed("ratelimit-remaining"), &["replay/10"]),
    (Broken::Replicas, &["replay/11"]),
    (Broken::Restarts, &["replay/12"]),
    (Broken::Fingerprint, &["other/1", "other/6", "other/10"]),
    (Broken::BodyInKey, &["at-once/8", "other/1", "other/2", "other/3", "other/4", "other/5"]),
    (Broken::Query, &["other/6"]),
    (Broken::ContentType, &["other/7"]),
    (Broken::Path, &["other/8"]),
    (Broken::Method, &["other/9"]),
    (Broken::Callers, &["other/10"]),
    (Broken::AfterRefusal, &["other/11"]),
    (Broken::Claim, &["at-once/1", "at-once/2", "at-once/3", "at-once/8", "faults/5"]),
    (Broken::Connection, &["at-once/4", "at-once/5", "at-once/6", "faults/7"]),
    (Broken::RetryAfter, &["at-once/7"]),
    (Broken::OtherWhileRunning, &["at-once/8"]),
    (Broken::LockedByHead, &["faults/1"]),
    (Broken::HalfBody, &["faults/2"]),
    (Broken::Disconnect, &["faults/3", "faults/5"]),
    (Broken::SlowBody, &["faults/6"]),
    (Broken::Pinned(400), &["policy/1"]),
    (Broken::Pinned(401), &["policy/2"]),
    (Broken::Pinned(429), &["policy/3"]),
    (Broken::Pinned(503), &["policy/4"]),
    (Broken::MediaType, &["problems/1"]),
    (Broken::ProblemStatus, &["problems/2"]),
    (Broken::Link, &["problems/3"]),
    (Broken::Secret, &["problems/4"]),
    (Broken::StackTrace, &["problems/4"]),
];

/// Found only if the service began before it saw that its client had left.
const NOT_ALWAYS: (Broken, &str) = (Broken::Disconnect, "faults/3");

/// So many services are checked at once: most of a run waits.
const AT_ONCE: usize = 16;

/// How long the slow request of a run takes, in milliseconds: while many runs share the machine, and on a busy machine.
const SLOW: [u32; 2] = [400, 3_000];

async fn found_by(broken: Broken, slow: u32) -> (BTreeSet<String>, String) {
    let service = start(broken).await;
    let run = tool::run(&service.arguments(slow).iter().map(String::as_str).collect::<Vec<_>>()).await;
    let wrong = run.with(&["failed", "differs"]);
    let unseen = run.with(&["not-observable"]);
    let ids = wrong.iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    (ids, format!("{wrong:#?}\nnot observable: {unseen:#?}\n{}", run.errors))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rule_that_is_switched_off_is_found_by_its_cases_and_by_no_other() {
    let permits = std::sync::Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for &(broken, cases) in TABLE {
        let permits = permits.clone();
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.unwrap();
            wrong_about(broken, cases, SLOW[0]).await.map(|_| (broken, cases))
        });
    }
    // On a busy machine a duplicate may come when its request has ended. So what differs is run once more: by itself, and with
    // a longer request.
    let mut wrong = Vec::new();
    for (broken, cases) in running.join_all().await.into_iter().flatten() {
        wrong.extend(wrong_about(broken, cases, SLOW[1]).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is found if a rule is switched off, unless it is found by exactly its cases.
async fn wrong_about(broken: Broken, cases: &[&str], slow: u32) -> Option<String> {
    let (found, details) = found_by(broken, slow).await;
    let is_due = |id: &&str| (broken, *id) != NOT_ALWAYS || found.contains(*id);
    let expected: BTreeSet<String> = cases.iter().copied().filter(is_due).map(str::to_owned).collect();
    (found != expected).then(|| format!("{broken:?}: expected {expected:?}, found {found:?}\n{details}"))
}

/// The cases that are not in the table are in the test of the lifetime and in that of a service without the attribute.
#[tokio::test]
async fn each_case_finds_a_rule_that_is_switched_off() {
    let listed = tool::run(&["--list"]).await.output;
    let listed: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    let in_table: BTreeSet<&str> = TABLE.iter().flat_map(|(_, cases)| cases.iter().copied()).collect();
    let elsewhere = BTreeSet::from(["faults/4", "lifetime/1", "lifetime/2", "replay/1"]);
    assert_eq!(listed.difference(&in_table).copied().collect::<BTreeSet<_>>(), elsewhere);
    assert_eq!(in_table.difference(&listed).count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_attribute_all_that_is_about_one_run_fails() {
    let (found, details) = found_by(Broken::Attribute, SLOW[0]).await;
    for id in [
        "replay/1",
        "replay/11",
        "replay/12",
        "other/1",
        "at-once/1",
        "at-once/2",
        "at-once/3",
        "at-once/4",
        "at-once/5",
        "at-once/6",
        "faults/4",
        "faults/6",
        "faults/7",
    ] {
        assert!(found.contains(id), "{id}: {details}");
    }
}

/// A service that offers everything: every case is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_keeps_all_rules_passes_every_case() {
    let service: Service = start(Broken::Nothing).await;
    let run = tool::run(&service.arguments(SLOW[0]).iter().map(String::as_str).collect::<Vec<_>>()).await;
    run.is_clean();
    assert_eq!(
        run.with(&["not-observable", "not-applicable"]),
        ["lifetime/1: give --expires", "lifetime/2: give --expires"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_that_wait_and_requests_that_are_compared_by_value_pass_as_well() {
    for broken in [Broken::OnlyOtherwiseWaiting, Broken::OnlyOtherwiseByValue] {
        let service = start(broken).await;
        let run = tool::run(&service.arguments(SLOW[0]).iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(run.with(&["failed"]), [""; 0], "{}", run.errors);
    }
}
