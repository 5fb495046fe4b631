//! The admin router, as support uses it: a person with a browser, and a script with JSON.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRef, Path, State},
    http::{Method, Request, StatusCode, header},
    routing::post,
};
use idempotent_runtime::{AdminRouter, Idempotency, MemoryStore, Store, idempotent};
use serde_json::{Value, json};
use support::{gate::Gate, in_process::panics, observed::Observed, redis_server::RedisServer, redis_store::patient};
use tokio::sync::watch;
use tower::ServiceExt as _;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    runs: watch::Sender<u32>,
    gate: Gate,
}

#[idempotent(ttl = "1h", lease = "6s", scope = user)]
async fn charge(
    State(App { runs, gate, .. }): State<App>,
    Path(user): Path<String>,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    runs.send_modify(|runs| *runs += 1);
    match body.as_str() {
        "held" => gate.passed().await,
        "panics" => panic!("as the test wants"),
        _ => {}
    }
    (StatusCode::CREATED, [("location", "/charges/7")], format!("<b>charged</b> {body}"))
}

#[idempotent(ttl = "1h", key = "uuid")]
async fn refund() -> StatusCode {
    StatusCode::ACCEPTED
}

/// The key is the body.
#[idempotent(ttl = "1h", key = id, fingerprint = "none")]
async fn event(id: String) -> StatusCode {
    if id.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED }
}

struct Service {
    public: Router,
    internal: Router,
    runs: watch::Sender<u32>,
    gate: Gate,
}

impl Service {
    fn new(store: impl Store) -> Self {
        Self::with(store, |admin| admin)
    }

    fn with(store: impl Store, configure: impl Fn(AdminRouter) -> AdminRouter) -> Self {
        let builder = Idempotency::builder(store).namespace("admin").store_timeout(Duration::from_secs(10));
        let idempotency = builder.max_response(1_000).build();
        let runs = watch::Sender::default();
        let gate = Gate::default();
        let app = App { idempotency: idempotency.clone(), runs: runs.clone(), gate: gate.clone() };
        let public = Router::new()
            .route("/users/{user}/charges", post(charge))
            .route("/refunds", post(refund))
            .route("/events", post(event));
        let admin = AdminRouter::new(idempotency)
            .handler(Method::POST, "/users/{user}/charges")
            .handler(Method::POST, "/refunds")
            .handler(Method::POST, "/events");
        let internal = Router::new().nest("/idempotency", configure(admin).into_router());
        Self { public: public.with_state(app), internal, runs, gate }
    }

    async fn charge(&self, key: &str, body: &str) -> u16 {
        self.send("/users/ann/charges", key, body).await
    }

    async fn send(&self, path: &str, key: &str, body: &str) -> u16 {
        let request = Request::post(path).header("idempotency-key", key).body(Body::from(body.to_owned())).unwrap();
        self.public.clone().oneshot(request).await.unwrap().status().as_u16()
    }

    /// Asks with JSON, as a script does.
    async fn ask(&self, what: &str, question: Value) -> (u16, Value) {
        let request = Request::post(format!("/idempotency/{what}")).header(header::CONTENT_TYPE, "application/json");
        let (status, body) = answer(&self.internal, request.body(Body::from(question.to_string())).unwrap()).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body} is no JSON")))
    }

    /// The state of Ann's charge, as a script sees it.
    async fn state(&self, key: &str) -> Value {
        let (status, mut answer) = self.ask("lookup", json!({"key": key, "scope": "ann"})).await;
        assert_eq!(status, 200, "{answer}");
        answer["requests"][0]["state"].take()
    }

    /// Opens another page, as a browser follows a link.
    async fn open(&self, address: &str) -> (u16, String) {
        answer(&self.internal, Request::get(address).body(Body::empty()).unwrap()).await
    }

    /// Sends the form whose button has this text, as a browser does, with the values that a person typed.
    async fn press(&self, page: &str, button: &str, typed: &[(&str, &str)]) -> (u16, String) {
        let (action, mut fields) = form(page, button);
        for (name, value) in typed {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        let body = fields.iter().map(|(name, value)| format!("{name}={}", percent(value)));
        let body = body.collect::<Vec<_>>().join("&");
        let request = Request::post(action)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        answer(&self.internal, request.body(Body::from(body)).unwrap()).await
    }
}

async fn answer(router: &Router, request: Request<Body>) -> (u16, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

fn percent(value: &str) -> String {
    value.bytes().fold(String::new(), |escaped, byte| format!("{escaped}%{byte:02X}"))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = tag.split_once(&format!(" {name}=\""))?;
    Some(after.split_once('"')?.0)
}

/// The address and the fields of the form whose button has this text.
fn form(page: &str, button: &str) -> (String, Vec<(String, String)>) {
    let form = page.split("<form").find(|form| form.contains(&format!("<button>{button}</button>")));
    let form = form.unwrap_or_else(|| panic!("no button {button} in {page}"));
    // A browser sends no box that is not checked.
    let inputs = form.split("<input").skip(1).filter(|tag| attribute(tag, "type") != Some("checkbox"));
    let fields = inputs.filter_map(|tag| {
        let tag = tag.split('>').next()?;
        let value = attribute(tag, "value").unwrap_or_default();
        let value = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        Some((attribute(tag, "name")?.to_owned(), value))
    });
    (attribute(form, "action").unwrap().to_owned(), fields.collect())
}

async fn a_script_sees_every_state_by_the_key_alone(store: impl Store) {
    let service = Service::new(store);
    let (status, answer) = service.ask("lookup", json!({"key": "k", "scope": "ann"})).await;
    assert_eq!((status, answer), (200, json!({"requests": []})));

    service.charge("k", "body").await;
    let (_, answer) = service.ask("lookup", json!({"key": "k", "scope": "ann"})).await;
    let found = &answer["requests"][0];
    assert_eq!((&found["method"], &found["route"]), (&json!("POST"), &json!("/users/{user}/charges")));
    assert_eq!((&found["state"], &found["status"]), (&json!("finished"), &json!(201)));
    assert!(found["bytes"].as_u64().unwrap() > 20);
    assert_eq!(found["digest"].as_str().map(str::len), Some(16), "as in logs and spans");
    assert_eq!(service.state("\"k\"").await, "finished", "as the header has it, in quotes");

    service.charge("large", &"x".repeat(2_000)).await;
    assert_eq!(service.state("large").await, "finished-without-body");

    let look = async {
        let ran_before = *service.runs.borrow();
        let mut runs = service.runs.subscribe();
        runs.wait_for(|runs| *runs > ran_before).await.unwrap();
        let state = service.state("held").await;
        let forgotten = service.ask("forget", json!({"key": "held", "scope": "ann", "confirm": true})).await;
        service.gate.open();
        (state, forgotten)
    };
    // The lookup is polled first, so that it knows how many handlers ran before.
    let ((state, forgotten), _) = tokio::join!(look, service.charge("held", "held"));
    assert_eq!((state, forgotten), (json!("running"), (200, json!({"outcome": "running"}))));

    panics(&service.public, "/users/ann/charges", "dead").await;
    assert_eq!(service.state("dead").await, "died");
}

/// Checks the example of the documentation: the text that `curl` prints there.
#[tokio::test]
async fn the_documentation_shows_every_member_of_an_answer() {
    let service = Service::new(MemoryStore::new());
    service.charge("k", "body").await;
    let page = include_str!("../../idempotent-runtime/src/admin/router.rs");
    let shown = |what: &str| -> Value {
        let (_, after) = page.split_once(&format!("/idempotency/{what} --json")).unwrap();
        let answer = after.lines().nth(1).and_then(|line| line.strip_prefix("/// ")).unwrap();
        serde_json::from_str(answer).unwrap()
    };
    let (_, found) = service.ask("lookup", json!({"key": "k", "scope": "ann"})).await;
    let members = |answer: &Value| -> Vec<String> {
        let mut members: Vec<_> = answer["requests"][0].as_object().unwrap().keys().cloned().collect();
        members.sort_unstable();
        members
    };
    assert_eq!(members(&shown("lookup")), members(&found));
    let (_, forgotten) = service.ask("forget", json!({"key": "k", "scope": "ann", "confirm": true})).await;
    assert_eq!(shown("forget"), forgotten);
}

#[tokio::test]
async fn in_memory_a_script_sees_every_state_by_the_key_alone() {
    a_script_sees_every_state_by_the_key_alone(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_redis_a_script_sees_every_state_by_the_key_alone() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.unwrap();
    a_script_sees_every_state_by_the_key_alone(store).await;
}

#[tokio::test]
async fn a_request_is_forgotten_in_a_second_step_and_then_runs_again() {
    let service = Service::new(MemoryStore::new());
    service.charge("k", "body").await;
    let (status, answer) = service.ask("forget", json!({"key": "k", "scope": "ann"})).await;
    assert_eq!((status, answer), (400, json!({"error": "send \"confirm\": true"})));
    assert_eq!(service.state("k").await, "finished");

    let (status, answer) = service.ask("forget", json!({"key": "k", "scope": "ann", "confirm": true})).await;
    assert_eq!((status, answer), (200, json!({"outcome": "forgotten"})));
    service.charge("k", "body").await;
    assert_eq!(*service.runs.borrow(), 2);
}

#[tokio::test]
async fn a_person_looks_up_and_forgets_by_buttons() {
    let service = Service::new(MemoryStore::new());
    // A key that would break out of an HTML attribute if it were not escaped.
    let key = r#""><script>alert(1)</script>&amp;"#;
    service.charge(&format!("\"{}\"", key.replace('"', "\\\"")), "body").await;
    let (_, index) = service.open("/idempotency").await;
    let quoted = format!("\"{}\"", key.replace('"', "\\\""));
    let (status, found) = service.press(&index, "Look up", &[("key", &quoted), ("scope", "ann")]).await;
    assert_eq!(status, 200);
    assert!(found.contains("With status 201"), "{found}");
    assert!(!found.contains("<script"), "{found}");

    let (_, question) = service.press(&found, "Forget it…", &[]).await;
    assert!(question.contains("<h1>Forget this request?</h1>"), "{question}");
    let (_, found) = service.press(&index, "Look up", &[("key", &quoted), ("scope", "ann")]).await;
    assert!(found.contains("With status 201"), "nothing is forgotten by the first step");
    let (_, done) = service.press(&question, "Forget it", &[]).await;
    assert!(done.contains("A retry runs as if it were the first"), "{done}");
    let (_, found) = service.press(&index, "Look up", &[("key", &quoted), ("scope", "ann")]).await;
    assert!(found.contains("<h1>Not known</h1>"), "{found}");
    for address in [attribute(&index, "href"), attribute(found.split("<a").nth(1).unwrap(), "href")] {
        assert_eq!(service.open(address.unwrap()).await.0, 200, "what a page points to is there: {address:?}");
    }
}

#[tokio::test]
async fn a_response_is_shown_where_that_is_allowed_and_in_a_second_step() {
    let service = Service::new(MemoryStore::new());
    service.charge("k", "body").await;
    let question = json!({"key": "k", "scope": "ann", "confirm": true});
    let (status, answer) = service.ask("response", question.clone()).await;
    assert_eq!(status, 403);
    assert!(!answer.to_string().contains("charged"));
    let (_, index) = service.open("/idempotency").await;
    let (_, found) = service.press(&index, "Look up", &[("key", "k"), ("scope", "ann")]).await;
    assert!(!found.contains("Show the response") && !found.contains("charged"), "{found}");

    let service = Service::with(MemoryStore::new(), |admin| admin.show_responses(true));
    service.charge("k", "body").await;
    let (status, _) = service.ask("response", json!({"key": "k", "scope": "ann"})).await;
    assert_eq!(status, 400);
    let (_, shown) = service.ask("response", question).await;
    assert_eq!((&shown["status"], &shown["body"]), (&json!(201), &json!("<b>charged</b> body")));
    assert!(shown["headers"].as_array().unwrap().contains(&json!(["location", "/charges/7"])), "{shown}");
    let (_, found) = service.press(&index, "Look up", &[("key", "k"), ("scope", "ann")]).await;
    let (_, warning) = service.press(&found, "Show the response…", &[]).await;
    assert!(!warning.contains("charged"), "{warning}");
    let (_, page) = service.press(&warning, "Show the response", &[]).await;
    assert!(page.contains("&lt;b&gt;charged&lt;/b&gt; body"), "{page}");
}

#[tokio::test]
async fn another_site_can_have_nothing_forgotten() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let service = Service::new(MemoryStore::new());
    service.charge("k", "body").await;
    let forge = |kind: &'static str, lines: &'static [(&'static str, &'static str)]| {
        let mut request = Request::post("/idempotency/forget").header(header::CONTENT_TYPE, kind);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let body = "key=k&scope=ann&confirm=true&handler=POST%20/users/{user}/charges";
        request.header(header::HOST, "127.0.0.1:9090").body(Body::from(body)).unwrap()
    };
    for forged in [
        forge(FORM, &[("sec-fetch-site", "cross-site")]),
        forge(FORM, &[("sec-fetch-site", "same-site")]),
        forge(FORM, &[("origin", "https://evil.example")]),
        forge(FORM, &[("origin", "null")]),
        forge(FORM, &[]),
        forge("text/plain", &[]),
        forge(FORM, &[("origin", "http://127.0.0.1:9091")]),
        forge("application/json", &[("sec-fetch-site", "cross-site")]),
        forge("application/json", &[("sec-fetch-site", "same-site")]),
    ] {
        assert_eq!(answer(&service.internal, forged).await.0, 403);
    }
    assert_eq!(service.state("k").await, "finished");
    let own = forge(FORM, &[("origin", "http://127.0.0.1:9090")]);
    // An old browser says this of the router's own page.
    let (status, page) = answer(&service.internal, own).await;
    assert!(status == 200 && page.contains("Forgotten."), "{page}");
    let request = Request::options("/idempotency/forget").header("origin", "https://evil.example");
    let request = request.header("access-control-request-method", "POST").body(Body::empty()).unwrap();
    let response = service.internal.clone().oneshot(request).await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_more_than_one_handler_knows_is_forgotten_by_its_route_only() {
    let service = Service::new(MemoryStore::new());
    let key = "0197F0DE-0000-7000-8000-00000000000A";
    service.send("/refunds", key, "").await;
    let question = |route: Option<&str>| json!({"key": key, "route": route, "confirm": true});
    let (_, answer) = service.ask("lookup", json!({"key": key})).await;
    assert_eq!(answer["requests"][0]["route"], "/refunds", "a UUID in any spelling: {answer}");

    // The same key is used at another handler, whose scope is empty too.
    let both = Service::with(MemoryStore::new(), |admin| admin.handler(Method::POST, "/refunds"));
    both.send("/refunds", key, "").await;
    let (status, answer) = both.ask("forget", question(None)).await;
    assert_eq!(status, 409, "{answer}");
    let (status, answer) = both.ask("forget", question(Some("/refunds"))).await;
    assert_eq!((status, answer), (200, json!({"outcome": "forgotten"})));
}

#[tokio::test]
async fn the_keys_of_an_expression_are_found_whatever_their_characters() {
    let service = Service::new(MemoryStore::new());
    let keys =
        ["plain", "sch\u{fc}ssel, 2", "\"quoted\"", " outer ", "\"quoted\";v=1", &"long".repeat(100), "<b>&amp;"];
    for key in keys {
        assert_eq!(service.send("/events", "", key).await, 202);
    }
    for key in keys {
        let (_, found) = service.ask("lookup", json!({"key": key, "exact": true})).await;
        assert_eq!(found["requests"][0]["state"], "finished", "{key}: {found}");
        // Where no header can have the key, it need not be said that it is exact.
        if key.contains(',') || key.len() > 255 {
            let (_, found) = service.ask("lookup", json!({"key": key})).await;
            assert_eq!(found["requests"][0]["state"], "finished", "{key}: {found}");
        }
        // A person finds it, and forgets this one and no other.
        let (_, page) = service.open("/idempotency").await;
        let (_, page) = service.press(&page, "Look up", &[("key", key), ("exact", "true")]).await;
        let (_, page) = service.press(&page, "Forget it\u{2026}", &[]).await;
        assert_eq!(service.press(&page, "Forget it", &[]).await.0, 200, "{key}");
        let (_, found) = service.ask("lookup", json!({"key": key, "exact": true})).await;
        assert_eq!(found["requests"], json!([]), "{key}");
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_says_why() {
    let service = Service::new(MemoryStore::new());
    for (question, status) in [
        (json!({"key": ""}), 400),
        (json!({"key": " ", "exact": true}), 400),
        (json!({"key": "k", "route": "/p", "method": "no method"}), 400),
        (json!({"key": "k", "confirm": "perhaps"}), 422),
        (json!({"scope": "ann"}), 422),
        (json!({"key": "k", "scope": "x".repeat(20_000)}), 413),
    ] {
        let (answered, answer) = service.ask("lookup", question.clone()).await;
        assert_eq!(answered, status, "{question} {answer}");
        assert!(answer["error"].as_str().unwrap().len() > 10, "{answer}");
    }
    let (status, answer) = service.ask("forget", json!({"key": "nobody", "confirm": true})).await;
    assert_eq!((status, answer), (404, json!({"error": "no handler knows this key"})));
}

#[tokio::test]
async fn a_store_that_is_down_is_said_to_be_down() {
    let mut server = RedisServer::start();
    let service = Service::new(patient().connect(&server.url()).await.unwrap());
    server.kill();
    let (status, answer) = service.ask("lookup", json!({"key": "k", "scope": "ann"})).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("store"), "{answer}");
}

/// A page of another site lets its own name resolve to the router's address.
#[tokio::test]
async fn a_name_that_is_not_the_routers_is_refused() {
    let service = Service::with(MemoryStore::new(), |admin| admin.host("support.internal"));
    let status = async |host: &str| {
        let request = Request::get("/idempotency").header(header::HOST, host).body(Body::empty()).unwrap();
        answer(&service.internal, request).await.0
    };
    for known in
        ["127.0.0.1:9090", "[::1]:9090", "10.1.2.3", "localhost:9090", "Support.Internal", "support.internal:9090"]
    {
        assert_eq!(status(known).await, 200, "{known}");
    }
    for other in ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "a b", ""] {
        assert_eq!(status(other).await, 403, "{other}");
    }
    let elsewhere = Request::get("http://evil.example/idempotency").body(Body::empty()).unwrap();
    assert_eq!(answer(&service.internal, elsewhere).await.0, 403);
}

#[test]
fn what_an_operator_does_is_logged_by_the_requests_digest() {
    let observed = Observed::default();
    let digest = observed.during(async {
        let service = Service::new(MemoryStore::new());
        assert_eq!(service.charge("k", "logged").await, 201);
        let (_, found) = service.ask("lookup", json!({"key": "k", "scope": "ann"})).await;
        service.ask("forget", json!({"key": "k", "scope": "ann", "confirm": true})).await;
        found["requests"][0]["digest"].as_str().unwrap().to_owned()
    });
    let logged: Vec<_> = observed.logged().into_iter().filter(|(_, line)| line.contains(&digest)).collect();
    for done in ["an operator looked a request up", "an operator asked to forget a request"] {
        assert!(logged.iter().any(|(_, line)| line.contains(done)), "{done}: {logged:#?}");
    }
}

#[tokio::test]
async fn it_may_be_mounted_at_the_root() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let router: Router = AdminRouter::new(idempotency).into_router();
    let (status, index) = answer(&router, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(form(&index, "Look up").0, "/lookup");
    assert_eq!(attribute(&index, "href"), Some("/style.css"));
    // The route has no default without a handler's name, so a person has to type it.
    assert!(index.contains("name=\"route\" placeholder=\"/payments/{id}/refund\" required"), "{index}");
}

#[tokio::test]
async fn what_is_in_flight_is_listed_by_handler_age_and_digest_and_not_by_key() {
    let service = Service::new(MemoryStore::new());
    let accept =
        |kind| Request::get("/idempotency/in-flight").header(header::ACCEPT, kind).body(Body::empty()).unwrap();
    let look = async {
        service.runs.subscribe().wait_for(|&runs| runs == 1).await.unwrap();
        let (status, listed) = answer(&service.internal, accept("application/json")).await;
        let (_, found) = service.ask("lookup", json!({"key": "k-held", "scope": "ann"})).await;
        let page = answer(&service.internal, accept("text/html")).await.1;
        service.gate.open();
        (status, listed, found, page)
    };
    let (_, (status, listed, found, page)) = tokio::join!(service.charge("k-held", "held"), look);
    assert_eq!(status, 200);
    assert!(!listed.contains("k-held") && !page.contains("k-held"), "{listed} {page}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let one = &listed["attempts"][0];
    assert_eq!((&listed["requests"], &listed["running"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&one["handler"], one["age_seconds"].as_u64().is_some_and(|age| age < 60)),
        (&json!("operations::admin::charge"), true)
    );
    assert_eq!((&one["recovering"], &one["lost"]), (&json!(false), &json!(false)));
    assert_eq!(one["digest"], found["requests"][0]["digest"]);
    assert!(page.contains("operations::admin::charge") && page.contains(one["digest"].as_str().unwrap()), "{page}");

    let (_, listed) = answer(&service.internal, accept("application/json")).await;
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap(), json!({"requests": 0, "running": 0, "attempts": []}));
    let (_, index) = service.open("/idempotency").await;
    let links = index.split("<a").skip(1).filter_map(|link| attribute(link, "href"));
    assert!(links.into_iter().any(|address| address == "/idempotency/in-flight"), "{index}");
}
