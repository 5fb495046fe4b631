//! Compares what a `utoipa` document says of protected handlers with what they really answer.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post, put},
};
use idempotent_runtime::{
    Idempotency, MemoryStore, Takeover, idempotent,
    openapi::{KeyHeader, Problems},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::in_process::send;
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct Payment {
    amount: u64,
}

/// A problem type that the service defines itself.
#[derive(Serialize, ToSchema)]
struct Refused {
    reason: String,
}

const KEPT: Duration = Duration::from_secs(90 * 60);

/// Makes a payment.
#[idempotent(ttl = "24h")]
#[utoipa::path(
    post,
    path = "/payments",
    responses(
        (status = 201, description = "Paid", body = Payment),
        (status = 401, description = "Who is asking?"),
        (status = 409, description = "The account is closed", body = Refused),
    ),
)]
async fn pay(Json(payment): Json<Payment>) -> (StatusCode, Json<Payment>) {
    (StatusCode::CREATED, Json(payment))
}

#[idempotent(ttl = KEPT, key = "uuidv7", required = false, takeover = "refuse")]
#[utoipa::path(put, path = "/transfers", responses((status = "2XX", description = "Done")))]
async fn transfer() {}

#[idempotent(header = "webhook-id", fingerprint = "none", replay = "success")]
#[utoipa::path(post, path = "/hooks", responses((status = 404, description = "Unknown")))]
async fn hook(_body: String) {}

/// The attribute says what a service may say as well.
#[idempotent(ttl = "24h", header = "Idempotency-Key", takeover = "rerun")]
#[utoipa::path(post, path = "/named", responses(
    (status = 200, description = "Done"),
    (status = 303, description = "Elsewhere"),
    (status = 404, description = "Unknown"),
    (status = 500, description = "Failed"),
    (status = "5XX", description = "Failed"),
    (status = "default", description = "Anything"),
))]
async fn named() {}

#[idempotent(ttl = "61s", key = "ulid")]
#[utoipa::path(post, path = "/dated", responses((status = 200, description = "Done")))]
async fn dated() {}

#[idempotent(key = payment.amount, required = false, replay = "all", ttl = "1500ms")]
#[utoipa::path(post, path = "/keyed", responses((status = "5XX", description = "Failed")))]
async fn keyed(Json(payment): Json<Payment>) {}

/// The user has already described the key.
#[idempotent]
#[cfg_attr(all(), utoipa::path(
    post,
    path = "/described",
    params(("idempotency-key" = String, Header, description = "in our own words")),
    extensions(("x-own" = json!(1)))
))]
async fn described() {}

#[idempotent]
#[utoipa::path(get, path = "/safe", responses((status = 200, description = "Read")))]
async fn safe() {}

#[utoipa::path(post, path = "/plain", responses((status = 200, description = "Done")))]
async fn plain() {}

#[derive(OpenApi)]
#[openapi(paths(pay, transfer, hook, named, dated, keyed, described, safe, plain))]
struct Api;

fn app() -> Router {
    Router::new()
        .route("/payments", post(pay))
        .route("/transfers", put(transfer))
        .route("/hooks", post(hook))
        .route("/named", post(named))
        .route("/dated", post(dated))
        .route("/keyed", post(keyed))
        .route("/described", post(described))
        .route("/safe", get(safe))
        .route("/plain", post(plain))
        .with_state(Idempotency::new(MemoryStore::new()))
}

fn document() -> Value {
    serde_json::to_value(Api::openapi()).unwrap()
}

/// The slugs and statuses on the page of problems: `# slug`, and `**409` in the next line.
fn documented_problems() -> BTreeMap<String, u16> {
    let page = include_str!("../../idempotent-runtime/src/problem/pages.rs");
    let sections = page.split("\n//! # ").skip(1);
    sections
        .map(|section| {
            let (slug, text) = section.split_once('\n').unwrap();
            let status = text.split_once("**").unwrap().1;
            (slug.to_owned(), status[..3].parse().unwrap())
        })
        .collect()
}

/// The problems that an operation documents, each with its status. Checks the schema and the example of each.
fn problems_of(operation: &Value) -> BTreeMap<String, u16> {
    let mut problems = BTreeMap::new();
    for (status, response) in operation["responses"].as_object().unwrap() {
        let Some(content) = response["content"].get("application/problem+json") else { continue };
        assert_eq!(content["schema"], json!({ "$ref": "#/components/schemas/IdempotencyProblem" }));
        for (slug, example) in content["examples"].as_object().unwrap() {
            let value = &example["value"];
            assert_eq!(value["status"].to_string(), *status, "{slug}");
            assert!(value["type"].as_str().unwrap().ends_with(&format!("#{slug}")), "{value}");
            assert!(!value["title"].as_str().unwrap().is_empty());
            problems.insert(slug.clone(), status.parse().unwrap());
        }
    }
    problems
}

#[test]
fn every_problem_of_the_contract_is_in_the_document_with_its_status() {
    let document = document();
    let mut expected = documented_problems();
    assert_eq!(expected.len(), 14);
    assert_eq!(problems_of(&document["paths"]["/transfers"]["put"]), expected);

    // An old key never runs, so an attempt that died is not taken over, although the attribute does not say so.
    assert_eq!(problems_of(&document["paths"]["/dated"]["post"]), expected);

    // These two need options that the usual handler does not have.
    expected.remove("key-expired").unwrap();
    expected.remove("outcome-unknown").unwrap();
    assert_eq!(problems_of(&document["paths"]["/payments"]["post"]), expected);

    // No header carries this handler's key, and none is required.
    let without_key: BTreeMap<_, _> = expected.clone().into_iter().filter(|(slug, _)| slug != "key-missing").collect();
    assert_eq!(problems_of(&document["paths"]["/keyed"]["post"]), without_key);

    // This handler does not compare the bodies of requests.
    expected.retain(|slug, _| !slug.starts_with("request-"));
    assert_eq!(problems_of(&document["paths"]["/hooks"]["post"]), expected);
}

#[tokio::test]
async fn a_client_is_answered_as_the_document_shows_it() {
    let (app, document) = (app(), document());
    let first = send(&app, "/payments", "one", r#"{"amount":1}"#).await;
    assert_eq!(first.status, StatusCode::CREATED);
    for (key, status, slug) in [("one", 422, "key-reused"), ("a,b", 400, "key-invalid")] {
        let answer = send(&app, "/payments", key, r#"{"amount":2}"#).await;
        assert_eq!((answer.status.as_u16(), answer.replayed), (status, false));
        let mut members: Value = serde_json::from_str(&answer.body).unwrap();
        let response = &document["paths"]["/payments"]["post"]["responses"][status.to_string()];
        let mut example = response["content"]["application/problem+json"]["examples"][slug]["value"].clone();
        assert!(members["detail"].take().is_string() && example["detail"].take().is_string());
        assert_eq!(members, example);
    }
}

#[test]
fn the_schema_of_a_problem_is_a_component() {
    let schema = &document()["components"]["schemas"]["IdempotencyProblem"];
    assert_eq!(schema["required"], json!(["type", "title", "status", "detail"]));
    assert_eq!(schema["properties"]["status"]["type"], "integer");
    assert_eq!(schema["properties"]["type"]["format"], "uri");
}

#[test]
fn the_parameter_has_the_name_the_format_and_the_need_of_the_handlers_key() {
    let document = document();
    let parameters = |path: &str, method: &str| document["paths"][path][method]["parameters"].clone();

    let usual = parameters("/payments", "post");
    assert_eq!((&usual[0]["name"], &usual[0]["in"]), (&json!("Idempotency-Key"), &json!("header")));
    assert_eq!(usual[0]["required"], true);
    assert_eq!(usual[0]["schema"], json!({ "type": "string", "minLength": 1, "maxLength": 255 }));
    assert!(usual[0]["description"].as_str().unwrap().ends_with("for 24 h."), "{usual}");

    let dated = parameters("/transfers", "put");
    assert_eq!(dated[0]["required"], false);
    assert_eq!(dated[0]["schema"]["format"], "uuid");
    assert!(dated[0]["description"].as_str().unwrap().contains("version 7"), "{dated}");

    assert_eq!(parameters("/hooks", "post")[0]["name"], "Webhook-Id");
    assert_eq!(parameters("/keyed", "post"), Value::Null, "no header carries the key");
}

#[test]
fn the_marker_is_on_what_may_be_replayed_and_the_ttl_on_the_operation() {
    let document = document();
    let marked = |path: &str, method: &str, status: &str| {
        let response = &document["paths"][path][method]["responses"][status];
        assert!(response.is_object(), "{path} {status}");
        response["headers"].get("Idempotent-Replayed").is_some()
    };
    assert!(marked("/payments", "post", "201"));
    assert!(marked("/payments", "post", "409"), "a conflict of the handler's own is replayed");
    assert!(!marked("/payments", "post", "401"));
    assert!(!marked("/payments", "post", "422"));
    assert!(marked("/transfers", "put", "2XX"));
    assert!(!marked("/hooks", "post", "404"), "`replay = \"success\"`");
    assert!(marked("/keyed", "post", "5XX"), "`replay = \"all\"`");
    for (status, replayed) in [("303", true), ("404", true), ("500", false), ("5XX", false), ("default", true)] {
        assert_eq!(marked("/named", "post", status), replayed, "{status}");
    }

    assert_eq!(document["paths"]["/payments"]["post"]["x-idempotency-key-ttl"], "PT24H");
    assert_eq!(document["paths"]["/transfers"]["put"]["x-idempotency-key-ttl"], "PT1H30M");
    assert_eq!(document["paths"]["/dated"]["post"]["x-idempotency-key-ttl"], "PT1M1S");
    assert_eq!(document["paths"]["/keyed"]["post"]["x-idempotency-key-ttl"], "PT1.500S");
    let kept = |path: &str, method: &str| document["paths"][path][method]["parameters"][0]["description"].clone();
    assert!(kept("/transfers", "put").as_str().unwrap().ends_with("for 1 h 30 min."));
    assert!(kept("/dated", "post").as_str().unwrap().ends_with("for 1 min 1 s."));
}

/// For a `utoipa::path` above the attribute.
#[test]
fn the_parameter_and_the_problems_can_be_named_by_the_user() {
    let of = |parameters: Vec<_>| serde_json::to_value(parameters).unwrap();
    assert_eq!(of(KeyHeader::<true>::into_params(|| None))[0]["required"], true);
    assert_eq!(of(KeyHeader::<false>::into_params(|| None))[0]["required"], false);
    let responses = serde_json::to_value(Problems::responses()).unwrap();
    for status in [400_u16, 409, 413, 422, 500, 503] {
        let content = &responses[status.to_string()]["content"]["application/problem+json"];
        let examples = content["examples"].as_object().unwrap();
        assert!(examples.values().all(|example| example["value"]["status"] == status), "{examples:?}");
        assert_eq!(content["schema"]["required"], json!(["type", "title", "status", "detail"]));
    }
    assert_eq!(responses.as_object().unwrap().len(), 6);
}

#[test]
fn what_the_user_describes_stays() {
    let document = document();
    let conflict = &document["paths"]["/payments"]["post"]["responses"]["409"];
    assert_eq!(conflict["description"], "The account is closed");
    assert_eq!(conflict["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Refused");
    assert!(conflict["content"]["application/problem+json"].is_object());
    assert!(conflict["headers"]["Retry-After"].is_object());

    let described = &document["paths"]["/described"]["post"];
    assert_eq!(described["parameters"].as_array().unwrap().len(), 1);
    assert_eq!(described["parameters"][0]["description"], "in our own words");
    assert_eq!((&described["x-own"], &described["x-idempotency-key-ttl"]), (&json!(1), &json!("PT24H")));
}

#[test]
fn a_handler_without_the_attribute_or_with_a_safe_method_gains_nothing() {
    let document = document();
    for (path, method) in [("/plain", "post"), ("/safe", "get")] {
        let operation = &document["paths"][path][method];
        assert_eq!(operation.get("parameters"), None, "{path}");
        assert_eq!(operation.get("x-idempotency-key-ttl"), None, "{path}");
        let responses = operation["responses"].as_object().unwrap();
        assert_eq!(responses.keys().collect::<Vec<_>>(), ["200"], "{path}");
        assert_eq!(responses["200"].get("headers"), None, "{path}");
    }
}

#[test]
fn a_service_puts_its_own_settings_into_the_document() {
    let of = |idempotency: Idempotency| {
        let mut api = Api::openapi();
        idempotency.modify(&mut api);
        serde_json::to_value(api).unwrap()
    };
    let builder = || Idempotency::builder(MemoryStore::new());

    let named = of(builder().header("x-request-key").problem_base("https://example.com/problems/").build());
    let pay = &named["paths"]["/payments"]["post"];
    assert_eq!(pay["parameters"][0]["name"], "X-Request-Key");
    assert_eq!(named["paths"]["/hooks"]["post"]["parameters"][0]["name"], "Webhook-Id");
    assert_eq!(named["paths"]["/named"]["post"]["parameters"][0]["name"], "Idempotency-Key", "the attribute names it");
    let example = &pay["responses"]["422"]["content"]["application/problem+json"]["examples"]["key-reused"];
    assert_eq!(example["value"]["type"], "https://example.com/problems/key-reused");

    let longer = of(builder().ttl(Duration::from_secs(48 * 60 * 60)).build());
    let ttl = |path: &str, method: &str| longer["paths"][path][method]["x-idempotency-key-ttl"].clone();
    assert_eq!(ttl("/hooks", "post"), "PT48H", "the attribute sets no ttl");
    assert_eq!(ttl("/payments", "post"), "PT24H", "the attribute sets one");
    let key = &longer["paths"]["/hooks"]["post"]["parameters"][0]["description"];
    assert!(key.as_str().unwrap().ends_with("A retry gets the first response for 48 h."), "{key}");

    let refusing = of(builder().takeover(Takeover::Refuse).problem_base("https://example.com/problems/").build());
    let unknown = |path: &str| {
        let conflict = &refusing["paths"][path]["post"]["responses"]["409"]["content"]["application/problem+json"];
        conflict["examples"].get("outcome-unknown").map(|example| example["value"]["type"].clone())
    };
    assert_eq!(unknown("/payments"), Some(json!("https://example.com/problems/outcome-unknown")));
    assert_eq!(unknown("/named"), None, "the attribute takes over");

    let own_format = of(builder().on_problem(|problem| problem.kind().status().into_response()).build());
    let responses = &own_format["paths"]["/payments"]["post"]["responses"];
    assert_eq!(responses["422"].get("content"), None);
    assert!(responses["409"]["content"]["application/json"].is_object());
    assert_eq!(responses["409"]["content"].get("application/problem+json"), None);
}
