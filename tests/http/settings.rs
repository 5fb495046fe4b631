//! What a service sets once for all its handlers, and how it shuts down.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::FutureExt as _;
use idempotent_runtime::{Claim, Idempotency, Inspection, ProblemKind, RequestName, idempotent, store::ForgetOutcome};
use tokio::sync::Notify;
use tracing::{Instrument, Span};
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanRef},
};

use crate::stage::{App, Fault, Runs, Server, Stage, create, on_every_store, on_memory, soon};

on_every_store!(
    a_key_is_inspected_and_forgotten_as_a_request_reads_it,
    a_drain_waits_for_detached_handlers_and_their_responses,
);

on_memory!(
    a_problem_points_at_its_page,
    a_problem_can_point_at_pages_of_the_service,
    problems_can_be_answered_in_the_services_own_format,
    what_a_services_own_answer_to_a_problem_lacks_is_added,
    one_more_than_may_be_in_flight_is_refused_and_nothing_of_it_runs,
    a_handler_whose_client_left_still_counts_as_in_flight,
    spans_reach_the_handler,
    context_of_an_outer_layer_reaches_the_handler,
    context_that_is_wrapped_stays_when_the_client_leaves,
    context_that_is_not_wrapped_is_gone_when_the_client_leaves,
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

async fn what_a_services_own_answer_to_a_problem_lacks_is_added(stage: Stage) {
    #[idempotent(ttl = "24h")]
    async fn large(State(runs): State<Runs>) -> impl IntoResponse {
        runs.begin();
        (StatusCode::CREATED, [("location", "/exports/1")], "x".repeat(2_000))
    }
    let settings = stage.settings().store_timeout(Duration::from_secs(1)).max_response(1_000).on_problem(|problem| {
        let text = format!("{}: {problem}", problem.kind().slug());
        match problem.kind() {
            // The engine keeps a `Retry-After` and a body that the service has set.
            ProblemKind::InFlight => (problem.kind().status(), [("retry-after", "7")], text).into_response(),
            ProblemKind::KeyMissing => problem.kind().status().into_response(),
            kind => (kind.status(), text).into_response(),
        }
    });
    let server = stage.serve_with(settings, routes().route("/large", post(large))).await;

    let call = server.post("/large").key("k");
    call.send().await;
    let retry = call.send().await;
    assert_eq!((retry.status, retry.line("location"), retry.retry_after()), (409, Some("/exports/1"), None));
    assert!(retry.text().starts_with("not-replayable: The request was carried out"), "{retry:?}");

    let first = server.post("/held").key("k").start();
    server.runs.begun(2).await;
    let busy = server.post("/held").key("k").send().await;
    assert_eq!((busy.status, busy.retry_after()), (409, Some(7)));
    server.runs.open(2);
    first.await.unwrap().is_run(2);

    server.post("/").send().await.is_problem(400, "key-missing");

    stage.store.fail_all(Fault::Deny);
    let down = server.post("/").key("down").send().await;
    stage.store.heal();
    assert_eq!((down.status, down.retry_after()), (503, Some(1)));
}

async fn a_key_is_inspected_and_forgotten_as_a_request_reads_it(stage: Stage) {
    #[idempotent(ttl = "24h", key = "uuid")]
    async fn by_uuid(State(runs): State<Runs>) -> (StatusCode, String) {
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = stage.serve_with(stage.settings(), routes().route("/uuid", post(by_uuid))).await;
    let key = "550E8400-E29B-41D4-A716-446655440000";
    for (index, path) in ["/uuid", "/"].into_iter().enumerate() {
        server.post(path).key(key).send().await.is_run(index + 1);
        for written in [key, &key.to_lowercase(), &format!("\"{key}\""), &key.replace('-', "")] {
            let seen = server.idempotency.inspect(&RequestName::new(Method::POST, path, written)).await.unwrap();
            assert!(matches!(seen, Inspection::Finished { .. }), "{written}: {seen:?}");
        }
    }
    let name = RequestName::new(Method::POST, "/uuid", key);
    assert_eq!(server.idempotency.forget(&name).await.unwrap(), ForgetOutcome::Forgotten);
    server.post("/uuid").key(key).send().await.is_run(3);
    for nothing in ["", "k, k", "\"open"] {
        let seen = server.idempotency.inspect(&RequestName::new(Method::POST, "/", nothing)).await.unwrap();
        assert_eq!(seen, Inspection::Absent);
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_every_request_runs() {
    #[idempotent(ttl = "24h")]
    async fn unprotected(claim: Claim, State(runs): State<Runs>) -> (StatusCode, String) {
        assert!(!claim.protected());
        (StatusCode::CREATED, runs.begin().to_string())
    }
    let server = Server::start(Idempotency::disabled(), Router::new().route("/", post(unprotected))).await;
    for (index, key) in [None, Some("k"), Some("k"), Some("")].into_iter().enumerate() {
        let call = server.post("/");
        let answer = key.map_or(call.clone(), |key| call.key(key)).send().await;
        answer.is_run(index + 1);
    }
}

async fn a_drain_waits_for_detached_handlers_and_their_responses(stage: Stage) {
    let server = stage.serve(routes()).await;
    let mut wire = server.wire().await;
    wire.send("POST /held HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n").await;
    server.runs.begun(1).await;
    drop(wire);
    let mut draining = pin!(server.idempotency.drain());
    assert!(draining.as_mut().now_or_never().is_none(), "the handler still runs");
    server.runs.open(1);
    soon("the drain to end", draining).await;
    // The response is stored by then, and later requests are still served.
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
    // The subscriber is set for the whole process, as in a service. The first test to get here sets it.
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

tokio::task_local! {
    static TENANT: &'static str;
}

/// Notes the tenant when it starts and when it ends. It ends when the test lets it.
#[idempotent(ttl = "24h")]
async fn of_a_tenant(State(runs): State<Runs>) -> (StatusCode, String) {
    let tenant = || TENANT.try_with(|tenant| *tenant).unwrap_or("none");
    runs.note(tenant().to_owned());
    let number = runs.begin_and_hold().await;
    runs.note(tenant().to_owned());
    runs.end();
    (StatusCode::CREATED, number.to_string())
}

/// Notifies the test when a request is dropped before it has its answer.
struct Watched<'a> {
    dropped: &'a Notify,
    answered: bool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.dropped.notify_one();
        }
    }
}

fn routes_of_a_tenant(dropped: &Arc<Notify>) -> Router<App> {
    let dropped = dropped.clone();
    let layer = middleware::from_fn(move |request: Request, next: Next| {
        let dropped = dropped.clone();
        async move {
            let mut watched = Watched { dropped: &dropped, answered: false };
            let response = TENANT.scope("acme", next.run(request)).await;
            watched.answered = true;
            response
        }
    });
    Router::new().route("/", post(of_a_tenant)).layer(layer)
}

/// What the handler sees when its client leaves in the middle of it.
async fn seen_when_the_client_leaves(server: &Server, dropped: &Notify) -> Vec<String> {
    let first = server.post("/").key("k").start();
    server.runs.begun(1).await;
    first.abort();
    assert!(first.await.is_err());
    soon("the request to be dropped", dropped.notified()).await;
    server.runs.open(1);
    server.runs.ended(1).await;
    server.runs.notes()
}

async fn context_of_an_outer_layer_reaches_the_handler(stage: Stage) {
    let server = stage.serve(routes_of_a_tenant(&Arc::default())).await;
    server.runs.open(1);
    server.post("/").key("k").send().await.is_run(1);
    assert_eq!(server.runs.notes(), ["acme", "acme"]);
}

async fn context_that_is_wrapped_stays_when_the_client_leaves(stage: Stage) {
    let settings = stage.settings().wrap_attempt(|attempt| match TENANT.try_with(|tenant| *tenant) {
        Ok(tenant) => Box::pin(TENANT.scope(tenant, attempt)),
        Err(_) => attempt,
    });
    let dropped = Arc::default();
    let server = stage.serve_with(settings, routes_of_a_tenant(&dropped)).await;
    assert_eq!(seen_when_the_client_leaves(&server, &dropped).await, ["acme", "acme"]);
}

async fn context_that_is_not_wrapped_is_gone_when_the_client_leaves(stage: Stage) {
    let dropped = Arc::default();
    let server = stage.serve(routes_of_a_tenant(&dropped)).await;
    assert_eq!(seen_when_the_client_leaves(&server, &dropped).await, ["acme", "none"]);
}
