//! How long a claim lives, and what happens when an attempt dies or is taken for dead.

use std::time::{Duration, Instant};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{Claim, idempotent, store::Lookup};

use crate::stage::{Answer, App, Call, Fault, Op, Runs, Stage, on_every_store, soon, until};

on_every_store!(
    a_handler_of_several_leases_runs_once,
    a_long_lease_is_not_the_lifetime_of_a_response,
    retry_after_is_one_second_while_the_first_attempt_is_known_to_be_alive,
    retry_after_is_what_is_left_of_a_lease_that_runs_out,
    a_dead_attempt_is_taken_over_and_the_next_one_is_told_so,
    a_dead_attempt_is_not_run_again_where_that_is_refused,
    a_lease_with_nothing_left_locks_nobody_out,
    another_request_cannot_take_a_dead_attempts_key,
    a_response_is_replayed_for_its_ttl_counted_from_completion,
);

/// A lease whose end a test waits for.
const LEASE: Duration = Duration::from_secs(1);

/// A lease that has to be kept, also on a busy machine.
pub(crate) const KEPT: Duration = Duration::from_secs(3);

/// Runs under a lease of [`LEASE`] for as long as the test holds it.
#[idempotent(ttl = "1h", lease = "1s")]
async fn held(claim: Claim, State(runs): State<Runs>, _body: String) -> (StatusCode, String) {
    hold(&claim, &runs).await
}

/// The same under a lease of [`KEPT`].
#[idempotent(ttl = "1h", lease = "3s")]
async fn kept(claim: Claim, State(runs): State<Runs>, _body: String) -> (StatusCode, String) {
    hold(&claim, &runs).await
}

async fn hold(claim: &Claim, runs: &Runs) -> (StatusCode, String) {
    let number = runs.begin();
    runs.note(format!("{} {}", claim.recovering(), claim.fence()));
    runs.hold(number).await;
    (StatusCode::CREATED, number.to_string())
}

#[idempotent(ttl = "1h", lease = "1s", takeover = "refuse")]
async fn held_and_never_rerun(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/", post(held)).route("/kept", post(kept)).route("/refuse", post(held_and_never_rerun))
}

/// Stops the heartbeats of all attempts while their process lives on, as a broken network does.
pub(crate) fn cut_heartbeats(stage: &Stage) {
    stage.store.fail(Op::Renew, Fault::Refuse);
}

/// Sends until the answer is not `in-flight`.
pub(crate) async fn when_the_lease_is_over(call: &Call) -> Answer {
    soon("the lease to be over", async {
        loop {
            let answer = call.send().await;
            if answer.retry_after().is_none() {
                return answer;
            }
            answer.is_problem(409, "in-flight");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

async fn a_handler_of_several_leases_runs_once(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/kept").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let start = Instant::now();
    while start.elapsed() < 2 * KEPT {
        call.send().await.is_problem(409, "in-flight");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}

async fn a_long_lease_is_not_the_lifetime_of_a_response(stage: Stage) {
    let server = stage.serve(routes()).await;
    server.runs.open(1);
    let call = server.post("/").key("k");
    call.send().await.is_run(1);
    let attempt = stage.store.claims().remove(0);
    // A finished record has no lease, so it is still there after the lease would have ended.
    tokio::time::sleep(LEASE + Duration::from_millis(300)).await;
    assert!(matches!(stage.store.lookup(&attempt.key).await, Ok(Lookup::Done { .. })));
    call.send().await.is_replay_of_run(1);
}

async fn retry_after_is_one_second_while_the_first_attempt_is_known_to_be_alive(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn thirty_seconds(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
    }
    let server = stage.serve(Router::new().route("/", post(thirty_seconds))).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let duplicate = call.send().await;
    duplicate.is_problem(409, "in-flight");
    assert_eq!(duplicate.retry_after(), Some(1));
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn retry_after_is_what_is_left_of_a_lease_that_runs_out(stage: Stage) {
    #[idempotent(ttl = "24h", lease = "8s")]
    async fn eight_seconds(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
    }
    let server = stage.serve(Router::new().route("/", post(eight_seconds))).await;
    cut_heartbeats(&stage);
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let claimed = Instant::now();
    until("more than half of the lease to be over", || async {
        let (before, answer, after) = (claimed.elapsed(), call.send().await, claimed.elapsed());
        answer.is_problem(409, "in-flight");
        let told = answer.retry_after().unwrap();
        // What is left of the lease, rounded up. The handler began a little after the claim.
        let left = |elapsed| Duration::from_secs(8).saturating_sub(elapsed).as_millis().div_ceil(1_000);
        let truth = left(after).saturating_sub(1)..=left(before);
        assert!(told == 1 || truth.contains(&u128::from(told)), "{told} after {after:?}");
        told > 1
    })
    .await;
    assert!(claimed.elapsed() >= Duration::from_millis(3_500), "too early for anything but 1");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_dead_attempt_is_taken_over_and_the_next_one_is_told_so(stage: Stage) {
    let server = stage.serve(routes()).await;
    cut_heartbeats(&stage);
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    server.runs.open(2);
    when_the_lease_is_over(&call).await.is_run(2);

    let notes = server.runs.notes();
    let (recovering, fences): (Vec<_>, Vec<_>) = notes.iter().map(|note| note.split_once(' ').unwrap()).unzip();
    let fences: Vec<u64> = fences.iter().map(|fence| fence.parse().unwrap()).collect();
    assert_eq!(recovering, ["false", "true"]);
    assert!(0 < fences[0] && fences[0] < fences[1], "the fence must grow: {fences:?}");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_dead_attempt_is_not_run_again_where_that_is_refused(stage: Stage) {
    let server = stage.serve(routes()).await;
    cut_heartbeats(&stage);
    let call = server.post("/refuse").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let refused = when_the_lease_is_over(&call).await;
    refused.is_problem(409, "outcome-unknown");
    assert_eq!(server.runs.count(), 1);
    // The first attempt was alive, and no other attempt took its key. So its response is stored.
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    call.send().await.is_replay_of_run(1);
}

async fn a_lease_with_nothing_left_locks_nobody_out(stage: Stage) {
    let server = stage.serve(routes()).await;
    stage.store.fail(Op::Renew, Fault::Hang);
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    let key = stage.store.claims().remove(0).key;
    until("nothing to be left of the lease", || async {
        matches!(stage.store.lookup(&key).await, Ok(Lookup::Running { left: Duration::ZERO, .. }))
    })
    .await;
    server.runs.open(2);
    call.send().await.is_run(2);
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn another_request_cannot_take_a_dead_attempts_key(stage: Stage) {
    let server = stage.serve(routes()).await;
    cut_heartbeats(&stage);
    let call = server.post("/").key("k").body("a");
    let first = call.start();
    server.runs.begun(1).await;
    let key = stage.store.claims().remove(0).key;
    until("nothing to be left of the lease", || async {
        matches!(stage.store.lookup(&key).await, Ok(Lookup::Running { left: Duration::ZERO, .. }))
    })
    .await;
    call.clone().body("b").send().await.is_problem(422, "key-reused");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn a_response_is_replayed_for_its_ttl_counted_from_completion(stage: Stage) {
    #[idempotent(ttl = "3s", lease = "3s")]
    async fn short_lived(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
    }
    let server = stage.serve(Router::new().route("/", post(short_lived))).await;
    let call = server.post("/").key("k");
    let first = call.start();
    server.runs.begun(1).await;
    // Longer than the ttl, counted from the claim.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    server.runs.open(1);
    first.await.unwrap().is_run(1);
    let finished = Instant::now();
    call.send().await.is_replay_of_run(1);
    server.runs.open(2);
    let second = soon("the response to expire", async {
        loop {
            let answer = call.send().await;
            if !answer.is_replayed() {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    second.await.is_run(2);
    assert!(finished.elapsed() > Duration::from_millis(2_500), "it expired after {:?}", finished.elapsed());
}
