//! Servers that are killed, stopped, run twice, or have the wrong time. Their claims are in one store.

use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use support::proxy::Proxy;
use uuid::{NoContext, Timestamp, Uuid};

use crate::stage::{Answer, Call, Processes, ServerProcess, soon, until};

/// Makes each of the named functions a test.
macro_rules! tests {
    ($processes:expr => $($test:ident)+) => {
        use super::*;

        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            super::$test($processes).await;
        })+
    };
}

/// Tests on each of the stores that processes share, and tests that need a store with its own server. SQLite has
/// no connection to cut, and each process judges time by the machine's clock.
macro_rules! with_claims_in {
    (every store { $($every:ident)+ } every server { $($server:ident)+ }) => {
        mod redis {
            tests! { Processes::on_redis() => $($every)+ $($server)+ }
        }
        mod postgres {
            tests! { Processes::on_postgres().await => $($every)+ $($server)+ }
        }
        mod sqlite {
            tests! { Processes::on_sqlite() => $($every)+ }
        }
    };
}

with_claims_in! {
    every store {
        after_a_kill_the_retry_waits_for_one_lease_and_then_runs_once
        after_a_kill_the_duplicates_of_many_clients_run_once
        after_a_kill_a_handler_that_must_not_rerun_is_refused
        a_handler_of_several_leases_in_another_process_runs_once
        a_process_that_was_frozen_beyond_its_lease_does_not_overwrite_the_new_owners_response
        two_hundred_duplicates_on_two_servers_run_once
    }
    every server {
        an_hour_of_clock_skew_changes_nothing
        dated_keys_are_judged_by_the_clock_of_the_store
        a_lost_reply_to_a_claim_is_no_conflict_with_itself
        a_lost_reply_to_a_completion_changes_nothing
    }
}

/// Sends a request and kills its server while the handler runs. The client gets no answer. Returns when it was killed.
async fn is_killed(processes: &Processes, mut one: ServerProcess, path: &str) -> Instant {
    processes.hold("one");
    let first = one.post(path).key("k");
    let first = tokio::spawn(async move { first.try_send().await });
    begun(processes, 1).await;
    one.kill();
    let killed = Instant::now();
    first.await.unwrap().expect_err("the first client gets nothing");
    killed
}

async fn begun(processes: &Processes, runs: usize) {
    until("the handler to begin", || async { processes.runs().len() >= runs }).await;
}

/// Retries after the pause that the answer names, as a good client does. Returns the last answer and the pauses.
async fn retried(call: &Call) -> (Answer, Vec<u64>) {
    let mut pauses = Vec::new();
    let answer = soon("the retries to end", async {
        loop {
            let answer = call.send().await;
            let Some(seconds) = answer.retry_after() else { return answer };
            answer.is_problem(409, "in-flight");
            pauses.push(seconds);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    })
    .await;
    (answer, pauses)
}

async fn after_a_kill_the_retry_waits_for_one_lease_and_then_runs_once(processes: Processes) {
    let (one, two) = (processes.start("one"), processes.start("two"));
    let killed = is_killed(&processes, one, "/").await;

    let call = two.post("/").key("k");
    let early = call.send().await;
    early.is_problem(409, "in-flight");
    assert!((1..=4).contains(&early.retry_after().unwrap()), "{early:?}");
    let (answer, pauses) = retried(&call).await;
    assert_eq!((answer.status, answer.is_replayed()), (201, false));
    assert!(killed.elapsed() >= Duration::from_secs(2), "the last heartbeat was less than a third of the lease ago");
    // The `Retry-After` was right: it is one second in the first half of the lease, and then it is the rest.
    assert!(pauses.len() <= 3, "{pauses:?}");

    assert!(call.send().await.is_replayed());
    let runs = processes.runs();
    assert_eq!(runs.iter().map(|run| run.recovering).collect::<Vec<_>>(), [false, true]);
    assert!(runs[0].fence < runs[1].fence && runs[0].process != runs[1].process, "{runs:?}");
}

async fn after_a_kill_the_duplicates_of_many_clients_run_once(processes: Processes) {
    let (one, two) = (processes.start("one"), processes.start("two"));
    is_killed(&processes, one, "/").await;
    let call = two.post("/").key("k");
    let answers = join_all((0..50).map(|_| retried(&call))).await;
    assert_eq!(answers.iter().filter(|(answer, _)| !answer.is_replayed()).count(), 1);
    assert!(answers.iter().all(|(answer, _)| answer.status == 201));
    assert_eq!(processes.runs().len(), 2);
}

async fn after_a_kill_a_handler_that_must_not_rerun_is_refused(processes: Processes) {
    let (one, two) = (processes.start("one"), processes.start("two"));
    is_killed(&processes, one, "/never-again").await;
    let (answer, _) = retried(&two.post("/never-again").key("k")).await;
    answer.is_problem(409, "outcome-unknown");
    assert_eq!(processes.runs().len(), 1);
}

async fn a_handler_of_several_leases_in_another_process_runs_once(processes: Processes) {
    let (one, two) = (processes.start("one"), processes.start("two"));
    processes.hold("one");
    let first = one.post("/").key("k").start();
    begun(&processes, 1).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        two.post("/").key("k").send().await.is_problem(409, "in-flight");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    processes.let_go("one");
    let first = first.await.unwrap();
    let replay = two.post("/").key("k").send().await;
    assert_eq!((first.status, first.body, replay.is_replayed()), (201, replay.body.clone(), true));
    assert_eq!(processes.runs().len(), 1);
}

async fn a_process_that_was_frozen_beyond_its_lease_does_not_overwrite_the_new_owners_response(processes: Processes) {
    let (one, two) = (processes.start("one"), processes.start("two"));
    processes.hold("one");
    let first = one.post("/").key("k").start();
    begun(&processes, 1).await;
    one.freeze();
    let (second, _) = retried(&two.post("/").key("k")).await;
    assert_eq!((second.status, second.is_replayed()), (201, false));
    processes.let_go("one");
    one.thaw();
    // The zombie answers its own client.
    let first = first.await.unwrap();
    assert_eq!((first.status, first.is_replayed()), (201, false));
    assert_ne!(first.body, second.body);
    for server in [&one, &two] {
        let replay = server.post("/").key("k").send().await;
        assert_eq!((replay.body.clone(), replay.is_replayed()), (second.body.clone(), true));
    }
    let runs = processes.runs();
    assert_eq!(runs.iter().map(|run| run.recovering).collect::<Vec<_>>(), [false, true]);
    assert!(runs[0].fence < runs[1].fence);
}

async fn two_hundred_duplicates_on_two_servers_run_once(processes: Processes) {
    let servers = [processes.start("one"), processes.start("two")];
    processes.hold("one");
    processes.hold("two");
    let calls: Vec<_> = (0..200).map(|index| servers[index % 2].post("/").key("k").start()).collect();
    soon("all but one to be answered", async {
        while calls.iter().filter(|call| !call.is_finished()).count() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    processes.let_go("one");
    processes.let_go("two");
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().unwrap().status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.as_ref().unwrap().status == 409).count(), 199);
    assert_eq!(processes.runs().len(), 1);
    for server in &servers {
        assert!(server.post("/").key("k").send().await.is_replayed());
    }
}

async fn an_hour_of_clock_skew_changes_nothing(processes: Processes) {
    let right = processes.start("right");
    let ahead = processes.start_with_clock("ahead", "+1h");
    let behind = processes.start_with_clock("behind", "-1h");
    let servers = [&right, &ahead, &behind];
    for (index, (name, server)) in ["right", "ahead", "behind"].into_iter().zip(servers).enumerate() {
        processes.hold(name);
        let call = |server: &ServerProcess| server.post("/").key(name);
        let first = call(server).start();
        begun(&processes, index + 1).await;
        // Longer than the lease: no server takes the live claim for a dead one, and each gives the same answer.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(4_500) {
            for other in servers {
                let answer = call(other).send().await;
                answer.is_problem(409, "in-flight");
                assert!((1..=4).contains(&answer.retry_after().unwrap()), "{answer:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        processes.let_go(name);
        let first = first.await.unwrap();
        assert_eq!((first.status, first.is_replayed()), (201, false));
        for other in servers {
            let replay = call(other).send().await;
            assert_eq!((replay.body.clone(), replay.is_replayed()), (first.body.clone(), true));
        }
    }
    assert_eq!(processes.runs().len(), 3);
}

async fn dated_keys_are_judged_by_the_clock_of_the_store(processes: Processes) {
    let servers = [processes.start_with_clock("ahead", "+1h"), processes.start_with_clock("behind", "-1h")];
    let minted = |at: SystemTime| {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Uuid::new_v7(Timestamp::from_unix(NoContext, since_epoch.as_secs(), 0)).to_string()
    };
    let now = SystemTime::now();
    for server in &servers {
        let post = |at| server.post("/dated").key(minted(at));
        assert_eq!(post(now).send().await.status, 201);
        post(now + Duration::from_secs(10 * 60)).send().await.is_problem(400, "key-invalid");
        post(now - Duration::from_secs(70 * 60)).send().await.is_problem(400, "key-expired");
    }
}

/// Sends a first request, so that the setup of the connection is over. The next call to the store is then a claim or a
/// completion.
async fn warm(server: ServerProcess) -> ServerProcess {
    server.post("/").key("warm").send().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server
}

async fn a_lost_reply_to_a_claim_is_no_conflict_with_itself(processes: Processes) {
    let proxy = Proxy::to(processes.address()).await;
    let server = warm(processes.start_behind("one", proxy.address())).await;
    let call = server.post("/").key("k");
    proxy.cut_next_answer();
    let answer = call.send().await;
    assert_eq!((answer.status, answer.is_replayed(), proxy.answers_cut()), (201, false, 1), "{answer:?}");
    assert!(call.send().await.is_replayed());
    assert_eq!(processes.runs().len(), 2);
}

async fn a_lost_reply_to_a_completion_changes_nothing(processes: Processes) {
    let proxy = Proxy::to(processes.address()).await;
    let server = warm(processes.start_behind("one", proxy.address())).await;
    processes.hold("one");
    let first = server.post("/").key("k").start();
    begun(&processes, 2).await;
    proxy.cut_next_answer();
    processes.let_go("one");
    assert_eq!(first.await.unwrap().status, 201);
    until("the answer to be cut", || async { proxy.answers_cut() == 1 }).await;
    assert!(server.post("/").key("k").send().await.is_replayed());
    assert_eq!(processes.runs().len(), 2);
}
