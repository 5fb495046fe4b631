//! Other attributes above and below `#[idempotent]`: the order makes no difference.
//!
//! The lints below are those of the strictest user: every warning is an error.
#![deny(warnings, clippy::pedantic, clippy::nursery)]
#![forbid(unsafe_code)]
// The first contradicts `unreachable_pub`. The second reports the copies of a handler that `debug_handler` makes.
#![allow(clippy::redundant_pub_crate, clippy::unused_async)]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router, debug_handler,
    extract::{FromRef, Path, State},
    http::{Method, StatusCode},
    response::IntoResponse,
    routing::post,
};
use idempotent_runtime::{Claim, Idempotency, MemoryStore, idempotent, openapi};
use serde::{Deserialize, Serialize};
use shout::shout;
use support::{
    in_process::{Answer, send},
    spans::recorded,
};
use tracing::instrument;
use utoipa::{OpenApi, ToSchema};

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: Runs,
}

/// Counts the runs of the handlers. Each answer contains the number of its run, so a second run would be seen.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
struct NewPayment {
    account: String,
    amount: u32,
}

type Created = (StatusCode, String);

fn created(app: &App, new: &NewPayment) -> Created {
    (StatusCode::CREATED, format!("run {} for {} of {}", app.runs.next(), new.account, new.amount))
}

// Spans.

#[instrument(skip(app))]
#[idempotent(ttl = "24h")]
async fn instrument_above(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[idempotent(ttl = "24h")]
#[instrument(skip(app))]
async fn instrument_below(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

// Attributes that check the handler.

// The compiler warns of this order.
#[debug_handler]
#[idempotent(ttl = "24h")]
#[allow(deprecated)]
async fn debug_handler_above(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    tokio::task::yield_now().await;
    created(&app, &new)
}

#[idempotent(ttl = "24h")]
#[debug_handler]
async fn debug_handler_below(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[idempotent]
#[debug_handler(state = App)]
async fn debug_handler_with_a_state(claim: Claim, Json(new): Json<NewPayment>) -> Created {
    (StatusCode::CREATED, format!("{} for {}", claim.protected(), new.account))
}

#[idempotent]
#[debug_handler]
async fn debug_handler_without_arguments() -> StatusCode {
    StatusCode::CREATED
}

#[idempotent]
#[cfg_attr(test, debug_handler, instrument(skip_all))]
async fn debug_handler_in_a_cfg_attr(method: Method, State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    assert_eq!(method, Method::POST);
    created(&app, &new)
}

// An attribute macro that rewrites the function.

#[shout]
#[idempotent]
async fn rewritten_above(State(app): State<App>, Json(new): Json<NewPayment>) -> String {
    created(&app, &new).1
}

#[idempotent]
#[shout]
async fn rewritten_below(State(app): State<App>, Json(new): Json<NewPayment>) -> String {
    created(&app, &new).1
}

// An attribute macro that describes the signature.

// The attribute `utoipa::path` above runs first. So the parts that `#[idempotent]` adds below are written here by hand, and the
// compiler's warning of this order is allowed.
/// Makes a payment.
#[utoipa::path(
    post,
    path = "/above",
    params(openapi::KeyHeader),
    responses((status = 201, headers(("Idempotent-Replayed" = bool))), openapi::Problems)
)]
#[idempotent]
#[allow(deprecated)]
async fn described_above(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

/// Makes a payment.
#[idempotent]
#[utoipa::path(post, path = "/below", responses((status = 201)))]
async fn described_below(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[derive(OpenApi)]
#[openapi(paths(described_above, described_below))]
struct Api;

// Attributes of the compiler itself.

#[idempotent]
#[cfg(not(test))]
async fn conditional_below(_gone: Gone) {}

#[idempotent]
#[cfg(test)]
async fn conditional_below(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[cfg(not(test))]
#[idempotent]
async fn conditional_above(_gone: Gone) {}

#[cfg(test)]
#[idempotent]
async fn conditional_above(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[deprecated]
#[idempotent]
async fn deprecated_above(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[idempotent]
#[deprecated]
async fn deprecated_below(State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

// Lints: each of these reports the user's own function once, at the place where it would without the attribute.

#[idempotent]
#[expect(dead_code, reason = "nobody routes to it")]
async fn unused(State(_app): State<App>, Json(_new): Json<NewPayment>) {}

#[idempotent]
#[expect(dead_code)]
async fn unused_without_arguments() {}

#[idempotent]
#[expect(unused_variables, reason = "`method` has no use")]
async fn unused_argument(method: Method, State(app): State<App>, Json(new): Json<NewPayment>) -> Created {
    created(&app, &new)
}

#[expect(clippy::too_many_arguments, clippy::many_single_char_names)]
#[idempotent]
async fn many_arguments(
    a: Method,
    b: Method,
    c: Method,
    d: Method,
    e: Method,
    f: Method,
    State(app): State<App>,
    Json(new): Json<NewPayment>,
) -> Created {
    drop((a, b, c, d, e, f));
    created(&app, &new)
}

#[must_use]
#[idempotent]
#[allow(clippy::let_and_return)]
async fn generous(State(app): State<App>, Json(new): Json<NewPayment>) -> impl IntoResponse {
    let response = created(&app, &new);
    response
}

// An argument may be used for the scope only, and a pattern may bind more names than the scope needs.
#[idempotent(scope = format!("{account}/{}", new.account))]
async fn scoped(
    Path((account, mut _region)): Path<(String, String)>,
    State(App { runs, .. }): State<App>,
    Json(ref new @ NewPayment { amount, .. }): Json<NewPayment>,
) -> Created {
    (StatusCode::CREATED, format!("run {} of {amount}", runs.next()))
}

fn app() -> Router {
    #[expect(deprecated)]
    let (above, below) = (post(deprecated_above), post(deprecated_below));
    Router::new()
        .route("/instrument/above", post(instrument_above))
        .route("/instrument/below", post(instrument_below))
        .route("/debug_handler/above", post(debug_handler_above))
        .route("/debug_handler/below", post(debug_handler_below))
        .route("/debug_handler/state", post(debug_handler_with_a_state))
        .route("/debug_handler/without_arguments", post(debug_handler_without_arguments))
        .route("/debug_handler/cfg_attr", post(debug_handler_in_a_cfg_attr))
        .route("/rewritten/above", post(rewritten_above))
        .route("/rewritten/below", post(rewritten_below))
        .route("/described/above", post(described_above))
        .route("/described/below", post(described_below))
        .route("/conditional/above", post(conditional_above))
        .route("/conditional/below", post(conditional_below))
        .route("/deprecated/above", above)
        .route("/deprecated/below", below)
        .route("/lints/unused_argument", post(unused_argument))
        .route("/lints/many_arguments", post(many_arguments))
        .route("/lints/generous", post(generous))
        .route("/scoped/{account}/{region}", post(scoped))
        .with_state(App { idempotency: Idempotency::new(MemoryStore::new()), runs: Runs::default() })
}

/// Sends the same payment twice with the same key.
async fn twice(path: &str) -> (Answer, Answer) {
    let app = app();
    let payment = r#"{"account":"ada","amount":7}"#;
    (send(&app, path, "one", payment).await, send(&app, path, "one", payment).await)
}

#[tokio::test]
async fn a_handler_with_any_attribute_above_or_below_runs_once_and_is_replayed() {
    for path in [
        "/instrument/above",
        "/instrument/below",
        "/debug_handler/above",
        "/debug_handler/below",
        "/debug_handler/state",
        "/debug_handler/without_arguments",
        "/debug_handler/cfg_attr",
        "/described/above",
        "/described/below",
        "/conditional/above",
        "/conditional/below",
        "/deprecated/above",
        "/deprecated/below",
        "/lints/unused_argument",
        "/lints/many_arguments",
        "/lints/generous",
        "/scoped/ada/eu",
    ] {
        let (first, retry) = twice(path).await;
        assert_eq!(first.status, StatusCode::CREATED, "{path}: {}", first.body);
        assert_eq!((retry.status, &retry.body), (first.status, &first.body), "{path}");
        assert_eq!((first.replayed, retry.replayed), (false, true), "{path}");
    }
}

#[tokio::test]
async fn a_rewriting_macro_does_its_work_above_and_below() {
    for path in ["/rewritten/above", "/rewritten/below"] {
        let (first, retry) = twice(path).await;
        assert_eq!(first.body, "RUN 0 FOR ADA OF 7", "{path}");
        assert_eq!(retry.body, first.body, "{path}");
    }
}

#[test]
fn an_api_description_says_the_same_from_above_and_below() {
    let described = serde_json::to_value(Api::openapi()).unwrap();
    let [above, below] = ["/above", "/below"].map(|path| &described["paths"][path]["post"]);
    assert_eq!((&above["operationId"], &below["operationId"]), (&"described_above".into(), &"described_below".into()));
    for part in ["summary", "parameters", "requestBody"] {
        assert_eq!(above[part], below[part], "{part}");
    }
    let schema = &above["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/NewPayment");
    let responses = |operation: &serde_json::Value| {
        let responses = operation["responses"].as_object().unwrap().iter();
        responses.map(|(status, response)| (status.clone(), response["description"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(responses(above), responses(below));
    let marked =
        |operation: &serde_json::Value| operation["responses"]["201"]["headers"]["Idempotent-Replayed"].is_object();
    assert!(marked(above) && marked(below));
}

#[test]
fn a_span_records_the_users_arguments_and_not_the_request() {
    for path in ["/instrument/above", "/instrument/below"] {
        let spans = recorded(twice(path));
        let name = path.trim_start_matches('/').replace('/', "_");
        let fields: Vec<_> = spans.into_iter().filter(|(span, _)| *span == name).map(|(_, fields)| fields).collect();
        assert_eq!(fields, [["new"]], "{path}");
    }
}
