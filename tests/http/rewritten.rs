//! Outer services that rewrite the URI: what the handler can read of it is compared.

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, Uri, header::HOST},
    middleware::map_request,
    routing::post,
};
use idempotent_runtime::idempotent;
use tower::ServiceBuilder;

use crate::stage::{App, Runs, Server, Stage, on_memory};

on_memory!(
    a_path_that_an_outer_service_wrote_is_compared,
    a_parameter_of_a_path_that_was_written_and_taken_off_again_is_compared,
    a_query_that_a_layer_wrote_is_compared,
    a_host_that_changes_nothing_in_the_uri_does_not_count,
    a_value_as_fingerprint_does_not_hide_that_the_path_was_rewritten,
);

#[idempotent(ttl = "24h")]
async fn pay(tenant: Option<Path<String>>, uri: Uri, State(runs): State<Runs>) -> (StatusCode, String) {
    runs.note(format!("{:?} {uri}", tenant.map(|Path(tenant)| tenant)));
    (StatusCode::CREATED, runs.begin().to_string())
}

/// The tenant is the host's name, and becomes a part of the path.
fn by_host(mut request: Request) -> Request {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let uri = format!("/t/{host}{}", request.uri()).parse().unwrap();
    *request.uri_mut() = uri;
    request
}

/// A server whose outer router rewrites the URI for the inner one.
async fn serve(stage: &Stage, inner: Router<App>) -> (Server, Runs) {
    let (idempotency, runs) = (stage.settings().build(), Runs::default());
    let inner = inner.with_state(App { idempotency: idempotency.clone(), runs: runs.clone() });
    let rewriting = ServiceBuilder::new().map_request(by_host).service(inner);
    (Server::start(idempotency, Router::new().fallback_service(rewriting)).await, runs)
}

async fn tells_two_hosts_apart(stage: &Stage, inner: Router<App>) {
    let (server, runs) = serve(stage, inner).await;
    let by = |host: &str| server.post("/pay").key("k").header("host", host).body("same");
    by("globex").send().await.is_run(1);
    by("initech").send().await.is_problem(422, "key-reused");
    by("globex").send().await.is_replay_of_run(1);
    assert_eq!(runs.count(), 1);
}

async fn a_path_that_an_outer_service_wrote_is_compared(stage: Stage) {
    tells_two_hosts_apart(&stage, Router::new().route("/t/{tenant}/pay", post(pay))).await;
}

/// The inner router takes the prefix off again, so that the URI looks as it did before. Only the parameter differs.
async fn a_parameter_of_a_path_that_was_written_and_taken_off_again_is_compared(stage: Stage) {
    tells_two_hosts_apart(&stage, Router::new().nest("/t/{tenant}", Router::new().route("/pay", post(pay)))).await;
}

async fn a_query_that_a_layer_wrote_is_compared(stage: Stage) {
    async fn add_query(mut request: Request) -> Request {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let uri = format!("{}?tenant={host}", request.uri().path()).parse().unwrap();
        *request.uri_mut() = uri;
        request
    }
    let server = stage.serve(Router::new().route("/pay", post(pay)).layer(map_request(add_query))).await;
    let by = |host: &str| server.post("/pay").key("k").header("host", host);
    by("globex").send().await.is_run(1);
    by("initech").send().await.is_problem(422, "key-reused");
    by("globex").send().await.is_replay_of_run(1);
}

/// A service behind two names, of which a client may use another for its retry.
async fn a_host_that_changes_nothing_in_the_uri_does_not_count(stage: Stage) {
    let server = stage.serve(Router::new().route("/pay", post(pay))).await;
    let by = |host: &str| server.post("/pay").key("k").header("host", host);
    by("eu.example").send().await.is_run(1);
    by("us.example").send().await.is_replay_of_run(1);
}

async fn a_value_as_fingerprint_does_not_hide_that_the_path_was_rewritten(stage: Stage) {
    #[idempotent(ttl = "24h", fingerprint = amount)]
    async fn by_value(State(runs): State<Runs>, amount: String) -> (StatusCode, String) {
        (StatusCode::CREATED, format!("{}{}", runs.begin(), &amount[..0]))
    }
    let (server, _) = serve(&stage, Router::new().route("/t/{tenant}/pay", post(by_value))).await;
    let by = |host: &str| server.post("/pay").key("k").header("host", host).body("1");
    by("globex").send().await.is_run(1);
    by("initech").send().await.is_problem(422, "key-reused");
    by("globex").send().await.is_replay_of_run(1);
}
