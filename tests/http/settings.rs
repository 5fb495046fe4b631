//! What a service sets once for all its handlers, and how it shuts down.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, idempotent};
use tracing::{Instrument, Span};
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanRef},
};

use crate::stage::{App, Runs, Server, Stage, create, on_every_store};

on_every_store!(
    a_problem_points_at_its_page,
    a_problem_can_point_at_pages_of_the_service,
    problems_can_be_answered_in_the_services_own_format,
    one_more_than_may_be_in_flight_is_refused_and_nothing_of_it_runs,
    a_handler_whose_client_left_still_counts_as_in_flight,
    switched_off_every_request_runs,
    a_drain_waits_for_detached_handlers_and_their_responses,
    spans_reach_the_handler,
    handlers_without_the_attribute_are_left_alone,
);

fn routes() -> Router<App> {
    Router::new().route("/", post(create)).route("/held", post(held))
}

#[idempotent(ttl = "24h")]
async fn held(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin_and_hold().await.to_string())
}

async fn a_problem_points_at_its_page(stage: Stage) {
    let server = stage.serve(routes()).await;
    let problem = server.post("/").send().await.problem();
    let page = "https://docs.rs/idempotent-runtime/latest/idempotent_runtime/problems/index.html#key-missing";
    assert_eq!(problem["type"], page);
}

async fn a_problem_can_point_at_pages_of_the_service(stage: Stage) {
    let server = stage.serve_with(stage.settings().problem_base("https://bank.test/problems/"), routes()).await;
    assert_eq!(server.post("/").send().await.problem()["type"], "https://bank.test/problems/key-missing");
}

async fn problems_can_be_answered_in_the_services_own_format(stage: Stage) {
    let settings = stage.settings().on_problem(|problem| {
        let seconds = problem.retry_after_seconds().unwrap_or(0);
        (StatusCode::IM_A_TEAPOT, format!("{} {seconds}", problem.kind().slug())).into_response()
    });
    let server = stage.serve_with(settings, routes()).await;
    let missing = server.post("/").send().await;
    assert_eq!((missing.status, missing.text()), (418, "key-missing 0"));
    let first = server.post("/held").key("k").start();
    server.runs.begun(1).await;
    assert_eq!(server.post("/held").key("k").send().await.text(), "in-flight 1");
    server.runs.open(1);
    first.await.unwrap().is_run(1);
}

async fn one_more_than_may_be_in_flight_is_refused_and_nothing_of_it_runs(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_in_flight(2), routes()).await;
    let calls: Vec<_> = ["a", "b"].map(|key| server.post("/held").key(key).start()).into_iter().collect();
    server.runs.begun(2).await;
    let refused = server.post("/").key("c").send().await;
    refused.is_problem(503, "too-many-in-flight");
    assert_eq!((refused.retry_after(), server.runs.count()), (Some(1), 2));
    server.runs.open(1);
    server.runs.open(2);
    for call in calls {
        assert_eq!(call.await.unwrap().status, 201);
    }
    server.idempotency.drain().await;
    server.post("/").key("c").send().await.is_run(3);
}

async fn a_handler_whose_client_left_still_counts_as_in_flight(stage: Stage) {
    let server = stage.serve_with(stage.settings().max_in_flight(1), routes()).await;
    let mut wire = server.wire().await;
    wire.send("POST /held HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n").await;
    server.runs.begun(1).await;
    drop(wire);
    for _ in 0..20 {
        server.post("/").key("other").send().await.is_problem(503, "too-many-in-flight");
    }
    server.runs.open(1);
    server.idempotency.drain().await;
    server.post("/").key("other").send().await.is_run(2);
}

async fn switched_off_every_request_runs(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn unprotected(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
        assert!(!claim.protected());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = Server::start(Idempotency::disabled(), Router::new().route("/", post(unprotected))).await;
    server.post("/").send().await.is_run(1);
    server.post("/").key("k").send().await.is_run(2);
    server.post("/").key("k").send().await.is_run(3);
    server.post("/").key("").send().await.is_run(4);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
}

async fn a_drain_waits_for_detached_handlers_and_their_responses(stage: Stage) {
    let server = stage.serve(routes()).await;
    let mut wire = server.wire().await;
    wire.send("POST /held HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n").await;
    server.runs.begun(1).await;
    drop(wire);
    let idempotency = server.idempotency.clone();
    let draining = tokio::spawn(async move { idempotency.drain().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!draining.is_finished(), "the handler still runs");
    server.runs.open(1);
    crate::stage::soon("the drain to end", draining).await.unwrap();
    // What it answered is stored by then, and whoever comes late is served as ever.
    server.post("/held").key("k").send().await.is_replay_of_run(1);
}

/// The names of the spans around the caller, the innermost first.
fn spans() -> Vec<&'static str> {
    let names = Span::current().with_subscriber(|(id, subscriber)| {
        let span = subscriber.downcast_ref::<Registry>().and_then(|registry| registry.span(id));
        span.iter().flat_map(SpanRef::scope).map(|span| span.name()).collect()
    });
    names.unwrap_or_default()
}

async fn spans_reach_the_handler(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn traced() -> (StatusCode, String) {
        (StatusCode::CREATED, spans().join(" in "))
    }
    async fn trace(request: Request, next: Next) -> Response {
        next.run(request).instrument(tracing::info_span!("of_the_request")).await
    }
    // For the whole process, as in a service. Whichever test is first sets it.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let server = stage.serve(Router::new().route("/", post(traced)).layer(middleware::from_fn(trace))).await;
    let around = server.post("/").key("k").send().await;
    assert!(around.text().ends_with("of_the_request"), "{around:?}");
}

async fn handlers_without_the_attribute_are_left_alone(stage: Stage) {
    async fn notify(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve(Router::new().route("/", post(notify)).route("/protected", post(create))).await;
    server.post("/").key("k").send().await.is_run(1);
    server.post("/").key("k").send().await.is_run(2);
    server.post("/").send().await.is_run(3);
    assert_eq!(stage.store.calls_of_any_kind(), 0);
}
