//! Handlers that fail, panic, or lose their client.

use std::time::Duration;

use axum::{
    BoxError, Router,
    body::Bytes,
    error_handling::HandleErrorLayer,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, Replay, idempotent};
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use crate::stage::{Answer, App, Fault, Op, Runs, Server, Stage, on_every_store, on_memory, soon, until};

on_every_store!(
    a_500_is_answered_and_frees_the_key,
    an_error_by_question_mark_frees_the_key,
    a_freed_key_may_be_used_for_another_request,
    a_discarded_response_leaves_no_trace_of_an_attempt,
    a_panic_breaks_the_connection_and_the_next_attempt_is_recovering,
    after_a_panic_a_handler_that_must_not_rerun_is_refused,
    after_a_panic_another_request_is_still_refused,
    a_client_that_hangs_up_changes_nothing,
    a_client_that_leaves_before_the_key_is_claimed_leaves_it_free,
    a_handler_that_answers_after_its_client_left_is_replayed,
    a_key_is_not_freed_by_an_answer_that_the_store_missed,
    a_response_that_cannot_be_made_counts_as_a_panic,
);

on_memory!(
    a_panic_reaches_a_layer_that_catches_it,
    a_timeout_layer_that_gives_up_does_not_stop_the_handler,
    a_concurrency_limit_counts_no_handler_whose_client_left,
    max_in_flight_counts_a_handler_whose_client_left,
);

/// Fails as often as the body says, then succeeds.
#[idempotent(ttl = "24h")]
async fn fails_at_first(claim: Claim, State(runs): State<Runs>, failures: String) -> (StatusCode, String) {
    runs.note(format!("recovering: {}", claim.recovering()));
    let number = runs.begin();
    let status =
        if number <= failures.parse().unwrap() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED };
    (status, number.to_string())
}

async fn a_500_is_answered_and_frees_the_key(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(fails_at_first))).await;
    let call = server.post("/").key("k").body("2");
    for number in ["1", "2"] {
        let failed = call.send().await;
        assert_eq!((failed.status, failed.text(), failed.is_replayed()), (500, number, false));
    }
    call.send().await.is_run(3);
    call.send().await.is_replay_of_run(3);
    // No attempt died, so none of them is recovering.
    assert_eq!(server.runs.notes(), ["recovering: false"; 3]);
}

async fn an_error_by_question_mark_frees_the_key(stage: Stage) {
    struct Failure;
    impl IntoResponse for Failure {
        fn into_response(self) -> Response {
            (StatusCode::BAD_GATEWAY, "the bank is closed").into_response()
        }
    }
    fn charge(attempt: usize) -> Result<(), Failure> {
        if attempt == 1 { Err(Failure) } else { Ok(()) }
    }
    #[idempotent(ttl = "24h")]
    async fn pay(State(runs): State<Runs>) -> Result<(StatusCode, String), Failure> {
        let number = runs.begin();
        charge(number)?;
        Ok((StatusCode::CREATED, number.to_string()))
    }
    let server = stage.serve(Router::new().route("/", post(pay))).await;
    let call = server.post("/").key("k");
    let failed = call.send().await;
    assert_eq!((failed.status, failed.text()), (502, "the bank is closed"));
    call.send().await.is_run(2);
}

async fn a_freed_key_may_be_used_for_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(fails_at_first))).await;
    assert_eq!(server.post("/").key("k").body("1").send().await.status, 500);
    server.post("/").key("k").body("0").send().await.is_run(2);
}

async fn a_discarded_response_leaves_no_trace_of_an_attempt(stage: Stage) {
    #[idempotent(ttl = "24h", takeover = "refuse")]
    async fn migrating(State(runs): State<Runs>) -> Response {
        let number = runs.begin();
        if number == 1 {
            return (StatusCode::CONFLICT, Replay::Discard, "try again").into_response();
        }
        (StatusCode::CREATED, number.to_string()).into_response()
    }
    let server = stage.serve(Router::new().route("/", post(migrating))).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.status, 409);
    call.send().await.is_run(2);
}

/// Panics at its first execution.
fn panics_once(claim: &Claim, runs: &Runs) -> (StatusCode, String) {
    runs.note(format!("recovering: {}", claim.recovering()));
    let number = runs.begin();
    assert!(number != 1, "an expected panic of the test's handler");
    (StatusCode::CREATED, number.to_string())
}

#[idempotent(ttl = "24h")]
async fn rerun_after_panic(claim: Claim, State(runs): State<Runs>, _body: Bytes) -> (StatusCode, String) {
    panics_once(&claim, &runs)
}

#[idempotent(ttl = "24h", takeover = "refuse")]
async fn refuse_after_panic(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
    panics_once(&claim, &runs)
}

async fn a_panic_breaks_the_connection_and_the_next_attempt_is_recovering(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(rerun_after_panic))).await;
    let call = server.post("/").key("k");
    call.try_send().await.expect_err("axum breaks the connection of a handler that panics");
    // The lease of 30 s ended with the panic.
    call.send().await.is_run(2);
    call.send().await.is_replay_of_run(2);
    assert_eq!(server.runs.notes(), ["recovering: false", "recovering: true"]);
}

async fn a_panic_reaches_a_layer_that_catches_it(stage: Stage) {
    let routes = Router::new().route("/", post(rerun_after_panic)).layer(CatchPanicLayer::new());
    let server = stage.serve(routes).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.status, 500);
    call.send().await.is_run(2);
}

async fn after_a_panic_a_handler_that_must_not_rerun_is_refused(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(refuse_after_panic))).await;
    let call = server.post("/").key("k");
    call.try_send().await.expect_err("a panic");
    for _ in 0..3 {
        let answer = call.send().await;
        answer.is_problem(409, "outcome-unknown");
        assert_eq!(answer.retry_after(), None, "trying again does not help");
    }
    assert_eq!(server.runs.count(), 1);
}

async fn after_a_panic_another_request_is_still_refused(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(rerun_after_panic))).await;
    server.post("/").key("k").body("a").try_send().await.expect_err("a panic");
    server.post("/").key("k").body("b").send().await.is_problem(422, "key-reused");
    server.post("/").key("k").body("a").send().await.is_run(2);
}

#[idempotent(ttl = "24h")]
async fn held(State(runs): State<Runs>) -> (StatusCode, String) {
    let number = runs.begin_and_hold().await;
    runs.end();
    (StatusCode::CREATED, number.to_string())
}

const HELD: &str = "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n";

async fn a_client_that_hangs_up_changes_nothing(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(held))).await;
    let mut wire = server.wire().await;
    wire.send(HELD).await;
    server.runs.begun(1).await;
    drop(wire);
    let call = server.post("/").key("k");
    call.send().await.is_problem(409, "in-flight");
    server.runs.open(1);
    server.runs.ended(1).await;
    replayed_soon(|| call.send()).await.is_replay_of_run(1);
    assert_eq!(server.runs.count(), 1);
}

/// Sends until the first attempt has settled the key.
async fn replayed_soon<F: Future<Output = Answer>>(send: impl Fn() -> F) -> Answer {
    soon("the response to be stored", async {
        loop {
            let answer = send().await;
            if answer.status != 409 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn a_timeout_layer_that_gives_up_does_not_stop_the_handler(stage: Stage) {
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(100));
    let server = stage.serve(Router::new().route("/", post(held)).layer(timeout)).await;
    let call = server.post("/").key("k");
    assert_eq!(call.send().await.status, 408);
    server.runs.open(1);
    let again = soon("the handler's answer", async {
        loop {
            let answer = call.send().await;
            if !matches!(answer.status, 408 | 409) {
                return answer;
            }
        }
    });
    again.await.is_replay_of_run(1);
}

/// Routes behind a layer that lets in one request at a time and answers 429 to any other.
fn one_at_a_time() -> Router<App> {
    let shed = HandleErrorLayer::new(async |_: BoxError| StatusCode::TOO_MANY_REQUESTS);
    let limit =
        ServiceBuilder::new().layer(shed).layer(LoadShedLayer::new()).layer(GlobalConcurrencyLimitLayer::new(1));
    Router::new().route("/", post(held)).layer(limit)
}

/// Begins a request and hangs up. Returns the answer to another request, once the layer no longer counts the first one.
async fn answer_beside_an_attempt_whose_client_left(server: &Server) -> Answer {
    let mut wire = server.wire().await;
    wire.send(HELD).await;
    server.runs.begun(1).await;
    let other = server.post("/").key("other");
    assert_eq!(other.send().await.status, 429, "the layer counts a request whose client is there");
    drop(wire);
    let answer = async {
        loop {
            let answer = other.send().await;
            if answer.status != 429 {
                return answer;
            }
        }
    };
    soon("the layer to have a place again", answer).await
}

async fn a_concurrency_limit_counts_no_handler_whose_client_left(stage: Stage) {
    let server = stage.serve(one_at_a_time()).await;
    server.runs.open(2);
    answer_beside_an_attempt_whose_client_left(&server).await.is_run(2);
    assert_eq!(server.runs.finished(), 1, "the first handler is still running");
    server.runs.open(1);
    server.runs.ended(2).await;
    let call = server.post("/").key("k");
    replayed_soon(|| call.send()).await.is_replay_of_run(1);
}

async fn max_in_flight_counts_a_handler_whose_client_left(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_in_flight(1), one_at_a_time()).await;
    answer_beside_an_attempt_whose_client_left(&server).await.is_problem(503, "too-many-in-flight");
    server.runs.open(1);
    server.runs.ended(1).await;
}

async fn a_client_that_leaves_before_the_key_is_claimed_leaves_it_free(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(held))).await;
    stage.store.fail(Op::Claim, Fault::Hold);
    let mut wire = server.wire().await;
    wire.send(HELD).await;
    until("the claim to be asked for", || async { stage.store.calls(Op::Claim) == 1 }).await;
    drop(wire);
    until("the claim to be taken back", || async { stage.store.calls(Op::Release) >= 1 }).await;
    stage.store.heal();
    assert_eq!(server.runs.count(), 0);
    server.runs.open(1);
    server.post("/").key("k").send().await.is_run(1);
}

async fn a_handler_that_answers_after_its_client_left_is_replayed(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(held))).await;
    let mut wire = server.wire().await;
    wire.send(HELD).await;
    server.runs.begun(1).await;
    drop(wire);
    // The retry comes while the response is being stored.
    stage.store.fail(Op::Complete, Fault::Hold);
    server.runs.open(1);
    until("the response to be stored", || async { stage.store.calls(Op::Complete) == 1 }).await;
    server.post("/").key("k").send().await.is_problem(409, "in-flight");
    stage.store.heal();
    let call = server.post("/").key("k");
    replayed_soon(|| call.send()).await.is_replay_of_run(1);
}

async fn a_key_is_not_freed_by_an_answer_that_the_store_missed(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(fails_at_first))).await;
    stage.store.fail_once(Op::Release, Fault::LoseAnswer);
    let call = server.post("/").key("k").body("1");
    assert_eq!(call.send().await.status, 500);
    call.send().await.is_run(2);
    // The repeated release found the record of the second run, or none. It must not have freed the second run's key.
    call.send().await.is_replay_of_run(2);
}

async fn a_response_that_cannot_be_made_counts_as_a_panic(stage: Stage) {
    struct Unspeakable(usize);
    impl IntoResponse for Unspeakable {
        fn into_response(self) -> Response {
            assert!(self.0 != 1, "an expected panic of the test's response");
            (StatusCode::CREATED, self.0.to_string()).into_response()
        }
    }
    #[idempotent(ttl = "24h")]
    async fn unspeakable(State(runs): State<Runs>) -> Unspeakable {
        Unspeakable(runs.begin())
    }
    let server = stage.serve(Router::new().route("/", post(unspeakable))).await;
    server.post("/").key("k").try_send().await.expect_err("a panic");
    server.post("/").key("k").send().await.is_run(2);
}
