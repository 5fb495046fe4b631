//! Runs the recipes of `docs/cookbook.md` over HTTP.
//!
//! `recipe!` puts the code of a recipe into a module here, so that the tests run the code that the page shows.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{FromRef, State},
    response::Response,
    routing::post,
};
use idempotent_runtime::{Idempotency, MemoryStore, Problem, idempotent};
use reqwest::{Client, RequestBuilder};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// How long a test waits for something that must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves on a free port, and returns the URL.
async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Sends a request, and returns the status, whether the answer is a replay, and the body.
async fn send(request: RequestBuilder) -> (u16, bool, String) {
    let answer = request.send().await.unwrap();
    let replayed = answer.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    (answer.status().as_u16(), replayed, answer.text().await.unwrap())
}

/// The same again after a pause, for as long as the service says that its store is not available, or that the first try
/// runs: a recipe has the default time-out, so an answer may be late on a busy machine.
async fn send_until_answered(request: RequestBuilder) -> (u16, bool, String) {
    let begun = Instant::now();
    loop {
        let answer = send(request.try_clone().unwrap()).await;
        if ![409, 503].contains(&answer.0) || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn with_key(url: &str, key: &str, body: &str) -> RequestBuilder {
    Client::new().post(url).header("idempotency-key", key).body(body.to_owned())
}

fn with_json(url: &str, key: &str, body: &str) -> RequestBuilder {
    with_key(url, key, body).header("content-type", "application/json")
}

/// The answer to a duplicate of a running request: its status, its `Retry-After` and its body.
async fn duplicate_of(on_problem: fn(Problem) -> Response) -> (u16, String, String) {
    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
        gate: Gate,
    }

    #[idempotent(ttl = "24h")]
    async fn held(State(gate): State<Gate>) {
        gate.pass().await;
    }

    let gate = Gate::closed();
    let idempotency = Idempotency::builder(MemoryStore::new()).on_problem(on_problem).build();
    let app = App { idempotency, gate: gate.clone() };
    let url = serve(Router::new().route("/", post(held)).with_state(app)).await;
    let first = tokio::spawn(with_key(&url, "k", "").send());
    gate.begun().await;
    let second = with_key(&url, "k", "").send().await.unwrap();
    let pause = second.headers()["retry-after"].to_str().unwrap().to_owned();
    let answer = (second.status().as_u16(), pause, second.text().await.unwrap());
    gate.open.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    answer
}

/// Reports when a handler has begun, and holds it until the test lets it go on.
#[derive(Clone)]
struct Gate {
    begun: watch::Sender<u32>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn closed() -> Self {
        Self { begun: watch::Sender::new(0), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        self.begun.send_modify(|begun| *begun += 1);
        self.open.acquire().await.unwrap().forget();
    }

    async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        tokio::time::timeout(PATIENCE, begun.wait_for(|begun| *begun > 0)).await.expect("a handler").unwrap();
    }
}

mod state_in_an_arc {
    use idempotent_runtime::MemoryStore;

    recipe::recipe!("docs/cookbook.md", "A state in an `Arc`");

    #[tokio::test]
    async fn a_state_in_an_arc_offers_its_store() {
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), currency: "EUR" };
        let url = format!("{}/payments", super::serve(routes(app)).await);
        let first = super::send(super::with_key(&url, "k", "4200")).await;
        assert_eq!(first, (200, false, "paid 4200 EUR".to_owned()));
        let again = super::send(super::with_key(&url, "k", "4200")).await;
        assert_eq!(again, (200, true, "paid 4200 EUR".to_owned()));
    }
}

mod browsers {
    use axum::{
        Router,
        extract::{FromRef, State},
        http::StatusCode,
        response::{Html, IntoResponse},
        routing::{get, post},
    };
    use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
    use serde_json::{Value, json};
    use support::browser::Browser;

    use super::{Gate, serve};

    recipe::recipe!("docs/cookbook.md", "Browsers: CORS");

    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
        gate: Gate,
    }

    #[idempotent(ttl = "24h")]
    async fn held(State(gate): State<Gate>, cents: String) -> impl IntoResponse {
        gate.pass().await;
        (StatusCode::CREATED, [(header::LOCATION, "/payments/1")], cents)
    }

    /// Pays from a page of another origin: twice at the same time, and once more afterwards. Returns what the page's
    /// script can read of the three answers.
    async fn what_a_page_reads(layer: impl FnOnce(HeaderValue) -> CorsLayer) -> Value {
        let shop = serve(Router::new().route("/", get(async || Html("<title>shop</title>")))).await;
        let gate = Gate::closed();
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), gate: gate.clone() };
        let routes = Router::new().route("/payments", post(held)).with_state(app);
        let service = serve(routes.layer(layer(shop.parse().unwrap()))).await;
        let browser = Browser::start().await;
        browser.open(&format!("{shop}/")).await;
        let pay = format!(
            "window.pay = async () => {{
                 const headers = {{ 'Idempotency-Key': 'order-1', 'Content-Type': 'application/json' }};
                 const answer = await fetch('{service}/payments', {{ method: 'POST', headers, body: '4200' }});
                 const names = ['location', 'retry-after', 'idempotent-replayed', 'date'];
                 window.seen.push([answer.status, ...names.map((name) => answer.headers.get(name))]);
             }};
             window.seen = [];
             window.pay();"
        );
        browser.run(&pay).await;
        gate.begun().await;
        browser.run("window.pay();").await;
        browser.wait_for("return window.seen.length === 1;").await;
        gate.open.add_permits(1);
        browser.wait_for("return window.seen.length === 2;").await;
        browser.run("window.pay();").await;
        browser.wait_for("return window.seen.length === 3;").await;
        browser.run("return window.seen;").await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_page_of_another_origin_reads_the_headers_that_the_recipe_exposes() {
        let seen = what_a_page_reads(cors).await;
        let running = json!([409, null, "1", null, null]);
        let first = json!([201, "/payments/1", null, null, null]);
        let replay = json!([201, "/payments/1", null, "true", null]);
        assert_eq!(seen, json!([running, first, replay]));
    }

    /// Without the recipe's line the page cannot read the headers, so the line is needed.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_page_of_another_origin_reads_nothing_that_is_not_exposed() {
        let seen = what_a_page_reads(|shop| cors(shop).expose_headers([] as [HeaderName; 0])).await;
        assert_eq!(
            seen,
            json!([[409, null, null, null, null], [201, null, null, null, null], [201, null, null, null, null]])
        );
    }
}

mod webhooks {
    use idempotent_runtime::MemoryStore;
    use reqwest::RequestBuilder;

    use super::{send, serve};

    recipe::recipe!("docs/cookbook.md", "Webhooks");

    /// A delivery as GitHub sends it, signed with this secret.
    fn delivery(url: &str, secret: &str, id: &str, body: &str) -> RequestBuilder {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let request = reqwest::Client::new().post(url).header("x-github-delivery", id);
        request.header("x-hub-signature-256", signature).body(body.to_owned())
    }

    #[tokio::test]
    async fn a_delivery_is_processed_once_and_only_with_the_right_signature() {
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), secret: Arc::from(*b"secret") };
        let url = format!("{}/github", serve(routes(app)).await);
        assert_eq!(send(delivery(&url, "wrong", "d-1", "{}")).await.0, 401);
        // The refused request has not used up the id.
        assert_eq!(send(delivery(&url, "secret", "d-1", "{}")).await, (200, false, "2 bytes".to_owned()));
        // The body of a redelivery may differ.
        assert_eq!(send(delivery(&url, "secret", "d-1", "{ }")).await, (200, true, "2 bytes".to_owned()));
        assert_eq!(send(delivery(&url, "wrong", "d-1", "{}")).await.0, 401, "a forger gets no replay");
        assert_eq!(send(delivery(&url, "secret", "d-2", "{ }")).await, (200, false, "3 bytes".to_owned()));
    }

    /// The example has its own tests.
    #[test]
    fn the_attributes_of_the_table_are_those_of_the_example() {
        let page = include_str!("../../docs/cookbook.md");
        let example = include_str!("../../examples/webhooks.rs");
        let section = page.split("\n## ").find(|section| section.starts_with("Webhooks")).unwrap();
        let attributes: Vec<_> = section.split('`').filter(|text| text.starts_with("#[")).collect();
        assert_eq!(attributes.len(), 3);
        for attribute in attributes {
            assert!(example.contains(&format!("\n{attribute}\n")), "{attribute}");
        }
    }
}

mod uploads {
    use idempotent_runtime::MemoryStore;
    use reqwest::RequestBuilder;

    use super::{send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "Uploads: multipart forms");

    /// An upload as a client writes it, each time with another boundary.
    fn upload(url: &str, boundary: &str, purpose: &str, file: &str) -> RequestBuilder {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{file}\r\n--{boundary}--\r\n"
        );
        with_key(url, "k", &body).header("content-type", format!("multipart/form-data; boundary={boundary}"))
    }

    #[tokio::test]
    async fn an_upload_that_is_retried_with_another_boundary_is_replayed() {
        let url = format!("{}/files", serve(routes(Idempotency::new(MemoryStore::new()))).await);
        let first = send(upload(&url, "aaa", "batch", "{}")).await;
        assert_eq!(first, (201, false, "2 bytes for batch".to_owned()));
        assert_eq!(send(upload(&url, "bbb", "batch", "{}")).await, (201, true, "2 bytes for batch".to_owned()));
        for (purpose, file) in [("batch", "[]"), ("vision", "{}")] {
            assert_eq!(send(upload(&url, "ccc", purpose, file)).await.0, 422, "{purpose} {file}");
        }
    }

    #[idempotent(ttl = "24h")]
    async fn byte_for_byte(upload: Upload) -> String {
        upload.purpose
    }

    /// Without the recipe's `fingerprint` a retry is refused, so it is needed.
    #[tokio::test]
    async fn without_a_fingerprint_another_boundary_is_another_request() {
        let routes = Router::new().route("/files", post(byte_for_byte));
        let url = format!("{}/files", serve(routes.with_state(Idempotency::new(MemoryStore::new()))).await);
        assert_eq!(send(upload(&url, "aaa", "batch", "{}")).await.0, 200);
        assert_eq!(send(upload(&url, "bbb", "batch", "{}")).await.0, 422);
    }
}

mod own_format {
    use axum::extract::State;
    use idempotent_runtime::MemoryStore;
    use reqwest::RequestBuilder;
    use serde_json::Value;

    use super::{Gate, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "Errors in your own format");

    /// The parts of an error that Stripe's SDKs read: the status, the error's type and code, and `Retry-After`.
    async fn error(request: RequestBuilder) -> (u16, String, String, Option<String>) {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        let pause = answer.headers().get("retry-after").map(|pause| pause.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let text = |name: &str| body["error"][name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        assert!(!text("message").is_empty());
        (status, text("type"), text("code"), pause)
    }

    fn shown(status: u16, kind: &str, code: &str, pause: Option<&str>) -> (u16, String, String, Option<String>) {
        (status, kind.to_owned(), code.to_owned(), pause.map(str::to_owned))
    }

    #[tokio::test]
    async fn every_refusal_has_an_error_as_the_sdk_knows_it() {
        let url = format!("{}/payments", serve(routes(MemoryStore::builder().max_records(1).build())).await);
        let missing = error(reqwest::Client::new().post(&url)).await;
        assert_eq!(missing, shown(400, "idempotency_error", "key-missing", None));
        assert_eq!(super::send(with_key(&url, "k", "4200")).await.0, 200);
        let reused = error(with_key(&url, "k", "4300")).await;
        assert_eq!(reused, shown(422, "idempotency_error", "key-reused", None));
        let full = error(with_key(&url, "another", "4200")).await;
        assert_eq!(full, shown(503, "api_error", "store-full", Some("1")));
    }

    #[derive(Clone, axum::extract::FromRef)]
    struct App {
        idempotency: Idempotency,
        gate: Gate,
    }

    #[idempotent(ttl = "24h")]
    async fn held(State(gate): State<Gate>) {
        gate.pass().await;
    }

    #[tokio::test]
    async fn a_duplicate_of_a_running_request_has_an_error_and_the_pause() {
        let gate = Gate::closed();
        let idempotency = Idempotency::builder(MemoryStore::new()).on_problem(in_our_format).build();
        let app = App { idempotency, gate: gate.clone() };
        let url = serve(Router::new().route("/", post(held)).with_state(app)).await;
        let first = tokio::spawn(with_key(&url, "k", "").send());
        gate.begun().await;
        let second = error(with_key(&url, "k", "")).await;
        assert_eq!(second, shown(409, "idempotency_error", "in-flight", Some("1")));
        gate.open.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
    }
}

mod openapi {
    use idempotent_runtime::MemoryStore;
    use serde_json::Value;

    use super::{send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "OpenAPI: `utoipa`");

    #[tokio::test]
    async fn the_document_describes_the_services_own_header_and_the_problems() {
        let idempotency = Idempotency::builder(MemoryStore::new()).header("X-Order-Token").build();
        let url = serve(routes(idempotency)).await;
        let (status, _, text) = send(reqwest::Client::new().get(format!("{url}/openapi.json"))).await;
        assert_eq!(status, 200);
        let document: Value = serde_json::from_str(&text).unwrap();
        let operation = &document["paths"]["/payments"]["post"];
        assert_eq!(operation["parameters"][0]["name"], "X-Order-Token", "{text}");
        assert!(operation["requestBody"]["content"]["application/json"].is_object(), "{text}");
        assert!(operation["responses"]["409"].is_object() && operation["responses"]["422"].is_object(), "{text}");
        // The handler reads its key from the header that the document describes.
        let pay = |key: &str| {
            let request =
                reqwest::Client::new().post(format!("{url}/payments")).header("x-order-token", key.to_owned());
            request.header("content-type", "application/json").body("4200")
        };
        assert_eq!(send(pay("k")).await, (201, false, String::new()));
        assert_eq!(send(pay("k")).await, (201, true, String::new()));
        let usual = with_key(&format!("{url}/payments"), "k", "4200").header("content-type", "application/json");
        assert_eq!(send(usual).await.0, 400, "the usual header is another one");
    }
}

mod prometheus {
    use axum::routing::post;
    use idempotent_runtime::{Idempotency, MemoryStore, idempotent};

    use super::{send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "Prometheus");

    #[idempotent(ttl = "24h")]
    async fn pay() {}

    #[tokio::test]
    async fn a_scrape_has_the_buckets_of_the_recipe() {
        let metrics = metrics().unwrap();
        let routes = Router::new().route("/payments", post(pay)).with_state(Idempotency::new(MemoryStore::new()));
        let url = serve(routes.merge(metrics)).await;
        for _ in 0..3 {
            send(with_key(&format!("{url}/payments"), "k", "")).await;
        }
        let (status, _, text) = send(reqwest::Client::new().get(format!("{url}/metrics"))).await;
        assert_eq!(status, 200);
        let claims = |line: &&str| {
            line.starts_with("idempotency_store_seconds_bucket{") && line.contains("operation=\"claim\",result=\"ok\"")
        };
        let bounds: Vec<_> = text.lines().filter(claims).filter_map(|line| line.split("le=\"").nth(1)).collect();
        let bounds: Vec<_> = bounds.into_iter().filter_map(|rest| rest.split('"').next()).collect();
        let mut wanted: Vec<_> = STORE_SECONDS_BUCKETS.iter().map(f64::to_string).collect();
        wanted.push("+Inf".to_owned());
        assert_eq!(bounds, wanted, "{text}");
        let replayed = |line: &&str| line.starts_with("idempotency_requests_total{") && line.contains("replayed");
        assert!(text.lines().any(|line| replayed(&line) && line.ends_with(" 2")), "{text}");
        // Checks the text as Prometheus reads it. `promtool check metrics` also checks the names and help texts.
        super::promtool(&text);
    }
}

/// # Panics
/// When Prometheus cannot read the text.
fn promtool(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run =
        promtool.spawn().unwrap_or_else(|error| panic!("cannot run promtool ({error}): apt-get install prometheus"));
    run.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let unread = said.lines().find(|line| line.contains("error while linting"));
    assert!(unread.is_none(), "{said}");
}

mod two_headers {
    use support::{redis_server::RedisServer, redis_store};

    use super::{send, send_until_answered, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "One Redis for two key headers");

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_key_headers_share_one_redis_and_no_key() {
        let server = RedisServer::start();
        let url = serve(on_redis(redis_store::patient().connect(&server.url()).await.unwrap())).await;
        let deliver = |id: &str, body: &str| {
            reqwest::Client::new().post(format!("{url}/webhooks")).header("webhook-id", id).body(body.to_owned())
        };
        let pay = |key: &str| with_key(&format!("{url}/payments"), key, "4200");
        assert_eq!(send_until_answered(pay("k")).await, (200, false, "paid 4200".to_owned()));
        assert_eq!(send_until_answered(deliver("k", "event")).await, (200, false, "5 bytes".to_owned()));
        assert!(send_until_answered(pay("k")).await.1);
        assert!(send_until_answered(deliver("k", "event")).await.1);
        // Each handler accepts its own header only.
        assert_eq!(send_until_answered(with_key(&format!("{url}/webhooks"), "other", "event")).await.0, 400);
        let keys = server.cli(&["KEYS", "*"]);
        let mut names: Vec<_> = keys.split_whitespace().map(|key| key.split(':').next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["payments", "webhooks"]);
    }

    #[tokio::test]
    async fn two_key_headers_share_one_store_in_memory() {
        let url = serve(in_memory()).await;
        let pay = || with_key(&format!("{url}/payments"), "k", "4200");
        let deliver = || {
            reqwest::Client::new().post(format!("{url}/webhooks")).header("webhook-id", "k").body("event".to_owned())
        };
        assert_eq!(send(pay()).await, (200, false, "paid 4200".to_owned()));
        assert_eq!(send(deliver()).await, (200, false, "5 bytes".to_owned()));
        assert!(send(pay()).await.1);
        assert!(send(deliver()).await.1);
    }
}

mod a_login_page {
    use idempotent_runtime::MemoryStore;
    use reqwest::{Client, redirect::Policy};

    recipe::recipe!("docs/cookbook.md", "A login page");

    #[tokio::test]
    async fn a_user_who_logs_in_and_tries_again_gets_the_order() {
        let url = super::serve(routes(Idempotency::new(MemoryStore::new()))).await;
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let order = || client.post(format!("{url}/orders")).header("idempotency-key", "k");
        for (request, to) in [(order(), "/login"), (order().header("cookie", "session=1"), "/orders/1")] {
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &to.parse().unwrap()));
        }
        let again = order().header("cookie", "session=1").send().await.unwrap();
        assert!(again.headers().contains_key("idempotent-replayed"));
    }
}

mod three_effects {
    use super::{send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "Three effects: a charge, a row and a mail");

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_error_between_the_effects_leaves_one_charge_one_row_and_one_mail() {
        let folder = support::directory::in_memory();
        let file = folder.path().join("orders.db");
        let db = SqlitePool::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
        let provider = Provider::default();
        let url = serve(routes(db.clone(), provider.clone()).await.unwrap()).await;
        let of_customer = |customer: u64| {
            let url = format!("{url}/customers/{customer}/orders");
            send(with_key(&url, "order-1", "4200").header("content-type", "application/json"))
        };
        let order = || of_customer(1);
        let run = async |sql: String| sqlx::raw_sql(&sql).execute(&db).await.unwrap();
        let charges = || provider.charges.lock().unwrap().len();
        let count = async |table| {
            sqlx::query_scalar::<_, i64>(&format!("SELECT count(*) FROM {table}")).fetch_one(&db).await.unwrap()
        };

        // The order fails after the charge first, and then after the row.
        for table in ["orders", "outbox"] {
            // Each has a name of its own: a connection of the pool may still know the trigger that another one has dropped.
            let create = format!("CREATE TRIGGER no_{table} BEFORE INSERT ON {table}");
            run(format!("{create} BEGIN SELECT RAISE(ABORT, 'refused'); END")).await;
            assert_eq!(order().await.0, 503, "without {table}");
            run(format!("DROP TRIGGER no_{table}")).await;
            assert_eq!((charges(), count("orders").await, count("outbox").await), (1, 0, 0), "without {table}");
        }
        // The receipt is saved as a step. A second charge would be seen now, whatever its key is.
        provider.charges.lock().unwrap().clear();
        assert_eq!(order().await, (201, false, "1".to_owned()));
        assert_eq!(order().await, (201, true, "1".to_owned()));
        assert_eq!((charges(), count("orders").await, count("outbox").await), (0, 1, 1));

        let mut sent = Vec::new();
        for _ in 0..2 {
            send_mails(&db, |_, text| sent.push(text.to_owned())).await.unwrap();
        }
        assert_eq!(sent, ["Order 1 of customer 1 is paid."]);

        // Another customer who chooses the same key pays too.
        provider.charges.lock().unwrap().insert(Uuid::nil(), 0);
        assert_eq!(of_customer(2).await, (201, false, "2".to_owned()));
        assert_eq!(charges(), 2);
    }
}

/// Ready-made clients, as `docs/clients.md` describes them.
mod other_clients {
    use axum::{
        Router,
        extract::{FromRef, State},
        http::StatusCode,
        routing::post,
    };
    use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
    use reqwest_middleware::ClientBuilder;
    use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};
    use tokio::process::Command;

    use super::{Duration, Gate, serve, with_key};

    #[derive(Clone, FromRef)]
    struct App {
        idempotency: Idempotency,
        gate: Gate,
    }

    #[idempotent(ttl = "24h")]
    async fn refuses(State(gate): State<Gate>, _cents: String) -> (StatusCode, &'static str) {
        gate.pass().await;
        (StatusCode::CREATED, "payment 1")
    }

    #[idempotent(ttl = "24h", wait = "50s")]
    async fn waits(State(gate): State<Gate>, _cents: String) -> (StatusCode, &'static str) {
        gate.pass().await;
        (StatusCode::CREATED, "payment 1")
    }

    #[derive(Clone, Copy, Debug)]
    enum Sdk {
        Curl,
        CurlAllErrors,
        ReqwestRetry,
    }

    impl Sdk {
        /// Returns the status and the body that the client's user gets.
        async fn pay(self, url: String) -> (u16, String) {
            if let Self::ReqwestRetry = self {
                let policy =
                    ExponentialBackoff::builder().retry_bounds(Duration::from_millis(10), Duration::from_secs(1));
                let retry = RetryTransientMiddleware::new_with_policy(policy.build_with_max_retries(50));
                let client = ClientBuilder::new(reqwest::Client::new()).with(retry).build();
                let answer = client.post(url).header("idempotency-key", "k").body("4200").send().await.unwrap();
                return (answer.status().as_u16(), answer.text().await.unwrap());
            }
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--retry", "50", "--retry-max-time", "60", "-w", "\n%{http_code}"]);
            if let Self::CurlAllErrors = self {
                curl.args(["--fail", "--retry-all-errors"]);
            }
            curl.args(["-H", "Idempotency-Key: k", "-H", "Content-Type:", "--data", "4200", &url]);
            let output = curl.output().await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let (body, status) = text.rsplit_once('\n').unwrap();
            (status.parse().unwrap(), body.to_owned())
        }
    }

    /// Holds the first request until the second one has its answer, or only until the second one has waited for some
    /// time.
    async fn while_the_first_runs(sdk: Sdk, path: &str, release: bool) -> (u16, String) {
        let gate = Gate::closed();
        let app = App { idempotency: Idempotency::new(MemoryStore::new()), gate: gate.clone() };
        let routes = Router::new().route("/refuses", post(refuses)).route("/waits", post(waits)).with_state(app);
        let url = format!("{}{path}", serve(routes).await);
        let first = tokio::spawn(with_key(&url, "k", "4200").send());
        gate.begun().await;
        let second = tokio::spawn(sdk.pay(url));
        if release {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!second.is_finished(), "{sdk:?} has given up");
            gate.open.add_permits(1);
        }
        let seen = second.await.unwrap();
        gate.open.add_permits(1);
        assert_eq!(first.await.unwrap().unwrap().status(), 201);
        assert_eq!(*gate.begun.borrow(), 1, "one payment");
        seen
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn clients_that_give_up_on_a_409_end_in_the_replay_where_the_handler_waits() {
        for sdk in [Sdk::Curl, Sdk::ReqwestRetry] {
            assert_eq!(while_the_first_runs(sdk, "/refuses", false).await.0, 409, "{sdk:?}");
            let seen = while_the_first_runs(sdk, "/waits", true).await;
            assert_eq!(seen, (201, "payment 1".to_owned()), "{sdk:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn curl_that_retries_on_all_errors_ends_in_the_replay_by_itself() {
        let (status, body) = while_the_first_runs(Sdk::CurlAllErrors, "/refuses", true).await;
        assert_eq!(status, 201);
        assert!(body.ends_with("payment 1"), "{body}");
    }
}

mod agentic_commerce {
    use idempotent_runtime::MemoryStore;

    use super::{duplicate_of, send, serve, with_json};

    recipe::recipe!("docs/cookbook.md", "Agentic Commerce Protocol");

    async fn service() -> String {
        let agent = Extension(Agent { id: 1 });
        format!("{}/checkout_sessions", serve(routes(MemoryStore::new()).layer(agent)).await)
    }

    fn code(body: &str) -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["type"], "invalid_request");
        body["code"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn the_same_json_is_the_same_request_at_one_path_of_an_agent() {
        let url = service().await;
        let post = |session: &str, body: &str| send(with_json(&format!("{url}/{session}"), "k", body));
        let (status, replayed, first) = post("a", r#"{"note": null, "amounts": [1.0, 2]}"#).await;
        assert_eq!((status, replayed), (201, false));
        let again = post("a", r#"{"amounts":[1,2.00],"note":null}"#).await;
        assert_eq!(again, (201, true, first));
        for other in [r#"{"amounts":[1,2]}"#, r#"{"amounts":[2,1],"note":null}"#] {
            let (status, _, body) = post("a", other).await;
            assert_eq!((status, code(&body).as_str()), (422, "idempotency_conflict"), "{other}");
        }
        assert_eq!(post("b", r#"{"amounts":[1,2],"note":null}"#).await.0, 201, "another path has its own keys");
    }

    #[tokio::test]
    async fn every_response_has_the_key_and_a_missing_key_has_their_code() {
        let url = format!("{}/a", service().await);
        for body in ["{}", "{}", "[]"] {
            let response = with_json(&url, "k", body).send().await.unwrap();
            assert_eq!(response.headers()["idempotency-key"], "k", "{}", response.status());
        }
        let (status, _, body) = send(reqwest::Client::new().post(&url)).await;
        assert_eq!((status, code(&body).as_str()), (400, "idempotency_key_required"));
    }

    #[tokio::test]
    async fn a_running_request_has_their_code_and_a_pause() {
        let (status, pause, body) = duplicate_of(in_their_format).await;
        assert_eq!((status, pause.as_str(), code(&body).as_str()), (409, "1", "idempotency_in_flight"));
    }
}

mod universal_commerce {
    use idempotent_runtime::MemoryStore;

    use super::{duplicate_of, send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "Universal Commerce Protocol");

    #[tokio::test]
    async fn another_payload_is_a_conflict_and_a_key_is_optional() {
        let routes = routes(MemoryStore::new()).layer(Extension(Platform { id: 1 }));
        let url = format!("{}/checkout-sessions/a/complete", serve(routes).await);
        assert_eq!(send(with_key(&url, "k", "cart")).await, (201, false, "1: cart".to_owned()));
        assert_eq!(send(with_key(&url, "k", "cart")).await, (201, true, "1: cart".to_owned()));
        let (status, replayed, _) = send(with_key(&url, "k", "cart ")).await;
        assert_eq!((status, replayed), (409, false));
        let unkeyed = reqwest::Client::new().post(&url).body("cart");
        assert_eq!(send(unkeyed).await, (201, false, "1: cart".to_owned()));
    }

    #[tokio::test]
    async fn a_running_request_is_no_conflict() {
        let (status, pause, _) = duplicate_of(in_their_format).await;
        assert_eq!((status, pause.as_str()), (503, "1"));
    }

    #[tokio::test]
    async fn without_room_in_the_store_nothing_runs() {
        let store = MemoryStore::builder().max_records(0).build();
        let url = serve(routes(store).layer(Extension(Platform { id: 1 }))).await;
        assert_eq!(send(with_key(&format!("{url}/checkout-sessions/a/complete"), "k", "cart")).await.0, 503);
    }
}

mod iceberg {
    use idempotent_runtime::MemoryStore;

    use super::{send, serve, with_json};

    recipe::recipe!("docs/cookbook.md", "Iceberg REST catalog");

    async fn service() -> String {
        serve(routes(MemoryStore::new()).layer(Extension(Principal { name: "ada".to_owned() }))).await
    }

    #[tokio::test]
    async fn a_final_answer_is_replayed_also_a_conflict() {
        let url = format!("{}/v1/namespaces", service().await);
        for (namespace, status) in [("sales", 200), ("taken", 409)] {
            let (key, body) = (uuid::Uuid::now_v7().to_string(), format!(r#"{{"namespace":["{namespace}"]}}"#));
            let first = send(with_json(&url, &key, &body)).await;
            assert_eq!((first.0, first.1), (status, false));
            let (again, replayed, same) = send(with_json(&url, &key, &body)).await;
            assert_eq!((again, replayed, same), (status, true, first.2));
        }
    }

    #[tokio::test]
    async fn a_key_that_is_no_uuid_of_version_7_or_too_old_is_refused_in_their_format() {
        let url = format!("{}/v1/namespaces", service().await);
        for (key, kind) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "key-invalid"),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "key-expired"),
        ] {
            let (status, _, body) = send(with_json(&url, key, r#"{"namespace":["sales"]}"#)).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &body["error"]["type"], &body["error"]["code"]), (400, &json!(kind), &json!(400)));
        }
    }

    #[tokio::test]
    async fn clients_learn_that_keys_are_supported() {
        let (status, _, body) = send(reqwest::Client::new().get(format!("{}/v1/config", service().await))).await;
        let config: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &config["idempotency-key-lifetime"]), (200, &json!("PT30M")));
    }
}

mod first_run {
    use std::sync::Mutex;

    use axum::{Router, middleware::from_fn, routing::post};
    use idempotent_runtime::{Idempotency, MemoryStore, idempotent};

    use super::{send, serve, with_key};

    recipe::recipe!("docs/cookbook.md", "A link from a replay to the first run");

    #[idempotent(ttl = "24h")]
    async fn pay() {}

    static LINKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn link(first: &str) {
        LINKS.lock().unwrap().push(first.to_owned());
    }

    #[tokio::test]
    async fn a_replay_is_linked_and_a_first_run_is_not() {
        let routes = Router::new().route("/", post(pay)).with_state(Idempotency::new(MemoryStore::new()));
        let url = serve(routes.layer(from_fn(|request, next| link_replays(link, request, next)))).await;
        let trace = |id: char| format!("00-{}-b7ad6b7169203331-01", id.to_string().repeat(32));
        for id in ['a', 'b', 'c'] {
            assert_eq!(send(with_key(&url, "k", "").header("traceparent", trace(id))).await.0, 200);
        }
        assert_eq!(*LINKS.lock().unwrap(), [trace('a'), trace('a')]);
    }
}
