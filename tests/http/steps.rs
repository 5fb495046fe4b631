//! Handlers whose effects are steps: a saved step is not run again.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use futures_util::{FutureExt as _, future::join_all};
use idempotent_runtime::{Claim, StepError, idempotent};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    leases::{cut_heartbeats, when_the_lease_is_over},
    stage::{Answer, App, Call, Fault, Op, Runs, Stage, on_every_store, on_memory, until},
};

on_every_store!(
    a_saved_step_is_not_run_again_after_a_5xx,
    a_saved_step_is_not_run_again_after_a_panic,
    after_a_takeover_the_next_attempt_goes_on_and_the_first_one_is_stopped,
    a_step_that_fails_is_run_again,
    a_value_that_cannot_be_written_is_an_error_and_its_step_is_not_run_again,
    a_value_that_cannot_be_read_back_is_found_at_the_first_call,
    a_value_that_is_too_large_is_an_error_and_its_step_is_not_run_again,
    a_step_that_the_store_missed_is_saved_with_the_next_one,
    a_step_that_the_store_missed_is_saved_when_the_attempt_ends,
    a_claim_does_not_end_before_the_store_has_its_steps,
    without_a_key_a_step_just_runs,
    a_claim_that_the_store_lost_is_created_again_with_its_steps,
);

on_memory!(
    a_name_used_twice_in_one_attempt_is_an_error_before_the_effect,
    a_step_for_each_item_has_a_name_for_each_item,
    steps_that_run_at_once_keep_their_own_values,
    a_step_after_the_attempts_end_is_refused_before_its_effect,
    a_step_that_ends_after_its_attempt_loses_no_claim,
);

/// Charges, then does what the body says for this attempt: `5xx`, `panic`, `hold`; and writes an order after that.
#[idempotent(ttl = "1h", lease = "3s", required = false)]
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
    step.await.map(|number| number.to_string()).map_err(|error| status(&error))
}

async fn a_step_that_fails_is_run_again(stage: Stage) {
    let server = stage.serve(routes()).await;
    let call = server.post("/once").key("k").body("2");
    assert_eq!(call.send().await.status, 502);
    assert_eq!(call.send().await.status, 502);
    assert_eq!(call.send().await.text(), "3");
}

/// Charges for each item of the body: by one name, or by a name for each.
async fn charge_each(claim: &Claim, runs: &Runs, items: &str, name: impl Fn(usize) -> String) -> Response {
    let mut charges = Vec::new();
    for (index, item) in items.split(',').enumerate() {
        let name = name(index);
        let charge = claim.step(&name, || async {
            runs.note(format!("charge {item}"));
            if item == "declined" && runs.begin() == 1 { Err(StatusCode::BAD_GATEWAY) } else { Ok(item.to_owned()) }
        });
        match charge.await {
            Ok(charge) => charges.push(charge),
            Err(error) => return (status(&error), error.to_string()).into_response(),
        }
    }
    (StatusCode::CREATED, charges.join("+")).into_response()
}

#[idempotent(ttl = "1h")]
async fn one_name(claim: Claim, State(runs): State<Runs>, items: String) -> Response {
    charge_each(&claim, &runs, &items, |_| "charge".to_owned()).await
}

#[idempotent(ttl = "1h")]
async fn a_name_each(claim: Claim, State(runs): State<Runs>, items: String) -> Response {
    charge_each(&claim, &runs, &items, |index| format!("charge {index}")).await
}

async fn a_name_used_twice_in_one_attempt_is_an_error_before_the_effect(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(one_name))).await;
    let call = server.post("/").key("k").body("a,b,c");
    for _ in 0..2 {
        let refused = call.send().await;
        assert_eq!(refused.status, 500);
        assert!(refused.text().contains("name"), "{refused:?}");
    }
    // The retry got the first value without running the step.
    assert_eq!(server.runs.notes(), ["charge a"]);
    // Two at once are no better than two in a row.
    #[idempotent(ttl = "1h")]
    async fn at_once(claim: Claim, State(runs): State<Runs>) -> String {
        let charge = || async {
            tokio::task::yield_now().await;
            runs.note("charge at once");
            Ok::<_, StatusCode>(1)
        };
        let (one, other) = tokio::join!(claim.step("charge", charge), claim.step("charge", charge));
        format!("{} {}", one.is_ok(), other.is_ok())
    }
    let server = stage.serve(Router::new().route("/at-once", post(at_once))).await;
    assert_eq!(server.post("/at-once").key("k").send().await.text(), "true false");
    assert_eq!(server.runs.notes(), ["charge at once"]);
}

async fn a_step_for_each_item_has_a_name_for_each_item(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(a_name_each))).await;
    let call = server.post("/").key("k").body("a,declined,a");
    assert_eq!(call.send().await.status, 502);
    is_created(&call.send().await, "a+declined+a");
    assert_eq!(server.runs.notes(), ["charge a", "charge declined", "charge declined", "charge a"]);
}

async fn steps_that_run_at_once_keep_their_own_values(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn at_once(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
        let number = runs.begin();
        let (claim, runs) = (&claim, &runs);
        let charges = (0..8).map(|item| {
            claim.step(format!("charge {item}"), move || async move {
                // The last one ends first.
                tokio::time::sleep(Duration::from_millis(80 - 10 * item)).await;
                runs.note("charge");
                Ok::<_, Infallible>(item)
            })
        });
        let charges: Vec<u64> = join_all(charges).await.into_iter().map(Result::unwrap).collect();
        let status = if number == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED };
        (status, format!("{charges:?}"))
    }
    let server = stage.serve(Router::new().route("/", post(at_once))).await;
    let call = server.post("/").key("k");
    for status in [502, 201] {
        let answer = call.send().await;
        assert_eq!((answer.status, answer.text()), (status, "[0, 1, 2, 3, 4, 5, 6, 7]"));
    }
    assert_eq!(server.runs.notes().len(), 8);
}

async fn a_step_after_the_attempts_end_is_refused_before_its_effect(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn accept(claim: Claim, State(runs): State<Runs>) -> StatusCode {
        tokio::spawn(async move {
            runs.hold(1).await;
            let late = claim.step("mail", || async {
                runs.note("mail");
                Ok::<_, StatusCode>(())
            });
            let told = late.await.unwrap_err().to_string();
            runs.note(format!("{told}; {}", if claim.lost().now_or_never().is_some() { "lost" } else { "not lost" }));
            runs.end();
        });
        StatusCode::ACCEPTED
    }
    the_late_step_is_refused(&stage, post(accept)).await;
}

/// The effect of a task that outlives its handler, and was running when the handler ended.
async fn a_step_that_ends_after_its_attempt_loses_no_claim(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn accept(claim: Claim, State(runs): State<Runs>) -> StatusCode {
        let (task, begun) = (runs.clone(), runs.clone());
        tokio::spawn(async move {
            let step = claim.step("mail", || async {
                task.begin();
                task.hold(1).await;
                Ok::<_, StatusCode>(())
            });
            let told = step.await.unwrap_err().to_string();
            let lost = claim.lost().now_or_never().is_some();
            task.note(format!("{told}; {}", if lost { "lost" } else { "not lost" }));
            task.end();
        });
        begun.begun(1).await;
        StatusCode::ACCEPTED
    }
    the_late_step_is_refused(&stage, post(accept)).await;
}

/// The task of the handler ends after the response, and notes what its step and `lost` told it.
async fn the_late_step_is_refused(stage: &Stage, accept: MethodRouter<App>) {
    let server = stage.serve(Router::new().route("/", accept)).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.status, 202);
    assert!(call.send().await.is_replayed());
    server.runs.open(1);
    server.runs.ended(1).await;
    let notes = server.runs.notes();
    assert!(notes.len() == 1 && notes[0].contains("has ended") && notes[0].ends_with("not lost"), "{notes:?}");
    assert_eq!(stage.store.calls(Op::SaveSteps), 0);
}

/// Charges, and returns what a charge of its kind returns.
async fn charge_for<T: Serialize + DeserializeOwned>(claim: &Claim, runs: &Runs, value: T) -> Response {
    let charge = claim.step("charge", || async {
        runs.begin();
        Ok::<_, Infallible>(value)
    });
    match charge.await {
        Ok(_) => StatusCode::CREATED.into_response(),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            (StatusCode::BAD_GATEWAY, format!("{error}: {}", cause.unwrap_or_default())).into_response()
        }
    }
}

async fn a_value_that_cannot_be_written_is_an_error_and_its_step_is_not_run_again(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn by_pair(claim: Claim, State(runs): State<Runs>) -> Response {
        charge_for(&claim, &runs, HashMap::from([((1, 2), 3)])).await
    }
    let server = stage.serve(Router::new().route("/", post(by_pair))).await;
    let call = server.post("/").key("k");
    for _ in 0..3 {
        let failed = call.send().await;
        assert_eq!(failed.status, 502);
        assert!(failed.text().contains("HashMap<(i32, i32), i32>"), "the type is named: {failed:?}");
        assert!(failed.text().contains("key must be a string"), "what went wrong is kept: {failed:?}");
    }
    assert_eq!(server.runs.count(), 1);
}

#[derive(Deserialize, Serialize)]
struct Receipt {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "Option::deserialize")]
    discount: Option<u64>,
}

async fn a_value_that_cannot_be_read_back_is_found_at_the_first_call(stage: Stage) {
    #[idempotent(ttl = "1h")]
    async fn discounted(claim: Claim, State(runs): State<Runs>, discount: String) -> Response {
        charge_for(&claim, &runs, Receipt { discount: discount.parse().ok() }).await
    }
    let server = stage.serve(Router::new().route("/", post(discounted))).await;
    let call = server.post("/").key("k");
    for _ in 0..3 {
        let failed = call.send().await;
        assert_eq!(failed.status, 502);
        assert!(failed.text().contains("Receipt") && failed.text().contains("discount"), "{failed:?}");
    }
    assert_eq!(server.runs.count(), 1);
    assert_eq!(server.post("/").key("other").body("5").send().await.status, 201);
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
    let server = stage.serve_with(stage.settings().store_timeout(Duration::from_secs(2)), routes()).await;
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
    let server = stage.serve_with(stage.settings().store_timeout(Duration::from_secs(2)), routes()).await;
    // The save gets no answer. The end of the attempt tries it once more and succeeds.
    stage.store.fail_once(Op::SaveSteps, Fault::Hang);
    let call = server.post("/").key("k").body("5xx");
    assert_eq!(call.send().await.status, 502);
    is_created(&when_the_lease_is_over(&call).await, "charged by 1, ordered by 2");
    assert_eq!(effects(&server.runs), (1, 1));
}

async fn a_claim_does_not_end_before_the_store_has_its_steps(stage: Stage) {
    let server = stage.serve_with(stage.settings().store_timeout(Duration::from_secs(1)), routes()).await;
    // The store takes no steps, and would take the end of the claim.
    stage.store.fail(Op::SaveSteps, Fault::Hang);
    let call = server.post("/").key("k").body("5xx");
    assert_eq!(call.send().await.status, 502);
    let saves = stage.store.calls(Op::SaveSteps);
    until("the steps to be saved again", || async { stage.store.calls(Op::SaveSteps) > saves }).await;
    assert_eq!(stage.store.calls(Op::Abandon), 0);
    stage.store.heal();
    until("the claim to end", || async { stage.store.calls(Op::Abandon) > 0 }).await;
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
