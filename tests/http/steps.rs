//! Handlers whose effects are steps: a saved step is not run again.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use idempotent_runtime::{Claim, StepError, idempotent};

use crate::{
    leases::{cut_heartbeats, when_the_lease_is_over},
    stage::{Answer, Call, Fault, Op, Runs, Stage, on_every_store, until},
};

on_every_store!(
    a_saved_step_is_not_run_again_after_a_5xx,
    a_saved_step_is_not_run_again_after_a_panic,
    after_a_takeover_the_next_attempt_goes_on_and_the_first_one_is_stopped,
    a_step_that_fails_is_run_again,
    a_name_used_twice_gives_the_first_value,
    a_value_that_is_too_large_is_an_error_and_its_step_is_not_run_again,
    a_step_that_the_store_missed_is_saved_with_the_next_one,
    a_step_that_the_store_missed_is_saved_when_the_attempt_ends,
    without_a_key_a_step_just_runs,
    a_claim_that_the_store_lost_is_created_again_with_its_steps,
);

/// Charges, then does what the body says for this attempt: `5xx`, `panic`, `hold`; and writes an order after that.
#[idempotent(ttl = "1h", lease = "1s", required = false)]
async fn checkout(claim: Claim, State(runs): State<Runs>, first: String) -> Result<(StatusCode, String), StatusCode> {
    let number = runs.begin();
    runs.note(format!("recovering: {}", claim.recovering()));
    let charge: String = claim
        .step("charge", || async {
            runs.note(format!("charge {}", claim.derive_key("charge")));
            Ok::<_, StatusCode>(format!("charged by {number}"))
        })
        .await
        .map_err(|error| status(&error))?;
    if number == 1 {
        match first.as_str() {
            "5xx" => return Err(StatusCode::BAD_GATEWAY),
            "panic" => panic!("an expected panic of the test's handler"),
            "hold" => runs.hold(1).await,
            _ => {}
        }
    }
    let order = claim.step("order", || async {
        runs.note("order".to_owned());
        Ok::<_, StatusCode>(number)
    });
    let order: usize = order.await.map_err(|error| status(&error))?;
    Ok((StatusCode::CREATED, format!("{charge}, ordered by {order}")))
}

fn status(error: &StepError<StatusCode>) -> StatusCode {
    match error {
        StepError::Failed(status) => *status,
        StepError::Lost => StatusCode::GONE,
        StepError::TooLarge => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn routes() -> Router<crate::stage::App> {
    Router::new().route("/", post(checkout)).route("/once", post(fails_at_first)).route("/large", post(large))
}

/// How often each effect happened: charges, orders.
fn effects(runs: &Runs) -> (usize, usize) {
    let count = |what: &str| runs.notes().iter().filter(|note| note.starts_with(what)).count();
    (count("charge"), count("order"))
}

fn is_created(answer: &Answer, text: &str) {
    assert_eq!((answer.status, answer.text()), (201, text));
}

async fn a_saved_step_is_not_run_again_after_a_5xx(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k").body("5xx");
    assert_eq!(call.send().await.status, 502);
    is_created(&call.send().await, "charged by 1, ordered by 2");
    assert_eq!(effects(&server.runs), (1, 1));
    assert!(server.runs.notes().contains(&"recovering: true".to_owned()), "the next attempt is told");
    assert!(call.send().await.is_replayed());
}

async fn a_saved_step_is_not_run_again_after_a_panic(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k").body("panic");
    assert!(call.try_send().await.is_err());
    is_created(&when_the_lease_is_over(&call).await, "charged by 1, ordered by 2");
    assert_eq!(effects(&server.runs), (1, 1));
}

async fn after_a_takeover_the_next_attempt_goes_on_and_the_first_one_is_stopped(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k").body("hold");
    let first = hold_first(&stage, &call, &server.runs).await;
    cut_heartbeats(&stage);
    is_created(&when_the_lease_is_over(&call).await, "charged by 1, ordered by 2");
    server.runs.open(1);
    // The first attempt is stopped at its next step, which does not run.
    assert_eq!(first.await.unwrap().status, 410);
    assert_eq!(effects(&server.runs), (1, 1));
    is_created(&call.send().await, "charged by 1, ordered by 2");
}

/// Its step fails as often as the body says.
#[idempotent(ttl = "1h")]
async fn fails_at_first(claim: Claim, State(runs): State<Runs>, failures: String) -> Result<String, StatusCode> {
    let failures: usize = failures.parse().unwrap_or(0);
    let step = claim.step("charge", || async {
        let number = runs.begin();
        if number <= failures { Err(StatusCode::BAD_GATEWAY) } else { Ok(number) }
    });
    let first = step.await.map_err(|error| status(&error))?;
    let second =
        claim.step("charge", || async { Ok::<_, StatusCode>(runs.begin()) }).await.map_err(|error| status(&error))?;
    Ok(format!("{first} {second}"))
}

async fn a_step_that_fails_is_run_again(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/once").key("k").body("2");
    assert_eq!(call.send().await.status, 502);
    assert_eq!(call.send().await.status, 502);
    assert_eq!(call.send().await.text(), "3 3");
}

async fn a_name_used_twice_gives_the_first_value(stage: Stage) {
    let server = stage.serve(routes()).await;
    assert_eq!(server.post("/once").key("k").send().await.text(), "1 1");
    assert_eq!(server.runs.count(), 1);
}

#[idempotent(ttl = "1h")]
async fn large(claim: Claim, State(runs): State<Runs>) -> Result<String, StatusCode> {
    let step = claim.step("export", || async {
        runs.begin();
        Ok::<_, StatusCode>("x".repeat(10_000))
    });
    step.await.map_err(|error| status(&error))
}

async fn a_value_that_is_too_large_is_an_error_and_its_step_is_not_run_again(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_response(5_000), routes()).await;
    let call = server.post("/large").key("k");
    assert_eq!(call.send().await.status, 507);
    assert_eq!(call.send().await.status, 507);
    assert_eq!(server.runs.count(), 1);
}

async fn a_step_that_the_store_missed_is_saved_with_the_next_one(stage: Stage) {
    let server = stage.serve_with(stage.settings().store_timeout(Duration::from_millis(300)), routes()).await;
    stage.store.fail(Op::SaveSteps, Fault::Deny);
    let call = server.post("/").key("k").body("hold");
    let first = call.start();
    until("the step to run", || async { effects(&server.runs).0 == 1 }).await;
    until("its save to be tried", || async { stage.store.calls(Op::SaveSteps) >= 1 }).await;
    stage.store.heal();
    server.runs.open(1);
    is_created(&first.await.unwrap(), "charged by 1, ordered by 1");
    assert_eq!(effects(&server.runs), (1, 1));
}

async fn a_step_that_the_store_missed_is_saved_when_the_attempt_ends(stage: Stage) {
    let server = stage.serve_with(stage.settings().store_timeout(Duration::from_millis(300)), routes()).await;
    // The save gets no answer. The end of the attempt tries it once more and succeeds.
    stage.store.fail_once(Op::SaveSteps, Fault::Hang);
    let call = server.post("/").key("k").body("5xx");
    assert_eq!(call.send().await.status, 502);
    is_created(&when_the_lease_is_over(&call).await, "charged by 1, ordered by 2");
    assert_eq!(effects(&server.runs), (1, 1));
}

async fn hold_first(stage: &Stage, call: &Call, runs: &Runs) -> tokio::task::JoinHandle<Answer> {
    let first = call.start();
    until("the step to be saved", || async { effects(runs).0 == 1 && stage.store.calls(Op::SaveSteps) == 1 }).await;
    first
}

async fn without_a_key_a_step_just_runs(stage: Stage) {
    let server = stage.serve(routes()).await;
    is_created(&server.post("/").send().await, "charged by 1, ordered by 1");
    is_created(&server.post("/").send().await, "charged by 2, ordered by 2");
    assert_eq!(stage.store.calls(Op::SaveSteps), 0);
}

async fn a_claim_that_the_store_lost_is_created_again_with_its_steps(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/").key("k").body("hold");
    let first = hold_first(&stage, &call, &server.runs).await;
    let attempt = stage.store.claims().remove(0);
    // The store loses it as a failover would.
    stage.store.lose(&attempt).await;
    let renewals = stage.store.calls(Op::Renew);
    until("a heartbeat", || async { stage.store.calls(Op::Renew) > renewals }).await;
    until("the claim to stand again", || async { stage.store.is_running(&attempt).await }).await;
    cut_heartbeats(&stage);
    is_created(&when_the_lease_is_over(&call).await, "charged by 1, ordered by 2");
    server.runs.open(1);
    assert_eq!(first.await.unwrap().status, 410);
    assert_eq!(effects(&server.runs).0, 1);
}
