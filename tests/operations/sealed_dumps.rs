//! With `.encrypt(…)` and `.hash_names(…)` a dump of Redis or of a database contains no key, scope, body, header or
//! step of a request. Without both, the same search finds them.

use std::{convert::Infallible, fs, path::Path as File, process::Command};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, Path, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotent_runtime::{Claim, EncryptionKeys, Idempotency, IdempotencyBuilder, MemoryStore, StepError, idempotent};
use support::{
    ledger::Ledger,
    postgres::Postgres,
    redis_server::RedisServer,
    redis_store::{PATIENCE, patient},
};
use tower::ServiceExt as _;

const KEY: &str = "order-4711-of-the-client";
const SCOPE: &str = "alice-who-asks";
const BODY: &str = "body-with-card-4111";
const HEADER: &str = "header-with-session-9f8e";
const STEP: &str = "step-of-charge-77";

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
}

/// Saves a step, and then fails or commits, as the body asks.
#[idempotent(ttl = "1h", scope = user)]
async fn pay(State(ledger): State<Ledger>, claim: Claim, Path(user): Path<String>, way: String) -> Response {
    let step: Result<String, StepError<Infallible>> = claim.step("charge", || async { Ok(STEP.to_owned()) }).await;
    assert_eq!(step.expect("the step is saved"), STEP);
    if way == "fails" {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let response = (StatusCode::CREATED, [("x-session", HEADER)], BODY);
    let committed = match &ledger {
        Ledger::Sqlite(pool) => claim.commit(pool.begin().await.expect("a transaction"), response).await,
        Ledger::Postgres(pool) => claim.commit(pool.begin().await.expect("a transaction"), response).await,
    };
    committed.expect("it is committed").into_response()
}

/// Makes a finished request, and a request whose saved step waits for the next attempt.
async fn requests(builder: IdempotencyBuilder, sealed: bool, ledger: &Ledger) {
    let builder =
        if sealed { builder.encrypt(EncryptionKeys::new([(1, [7; 32])])).hash_names([8; 32]) } else { builder };
    let app = App { idempotency: builder.namespace("dumped").store_timeout(PATIENCE).build(), ledger: ledger.clone() };
    let routes = Router::new().route("/users/{user}/payments", post(pay)).with_state(app);
    for (key, body, status) in [(KEY, "pays", 201), (&format!("{KEY}-2"), "fails", 502), (KEY, "pays", 201)] {
        let request = Request::post(format!("/users/{SCOPE}/payments")).header("idempotency-key", key);
        let request = request.body(Body::from(body)).expect("a request");
        assert_eq!(routes.clone().oneshot(request).await.expect("an answer").status().as_u16(), status);
    }
}

/// The texts that a dump contains, as they are or in hexadecimal.
fn found(dump: &[u8]) -> Vec<&'static str> {
    let stands = |text: &str| dump.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
    [KEY, SCOPE, BODY, HEADER, STEP].into_iter().filter(|text| stands(text) || stands(&hex::encode(text))).collect()
}

/// All data that Redis would write to its disk. Compression is off, because it could hide a text.
fn dump_of_redis(server: &RedisServer) -> Vec<u8> {
    server.set(&["CONFIG", "SET", "rdbcompression", "no"]);
    let directory = support::directory::in_memory();
    let file = directory.path().join("dump.rdb");
    server.cli(&["--rdb", &file.display().to_string()]);
    fs::read(file).expect("a dump")
}

fn dump_of_postgres(url: &str) -> Vec<u8> {
    let dumped = Command::new("pg_dump").arg(url).output();
    let dumped = dumped.unwrap_or_else(|error| panic!("cannot run pg_dump ({error}): `apt-get install postgresql`"));
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8_lossy(&dumped.stdout);
    assert!(text.contains("COPY public.idempotency_keys"), "{text}");
    dumped.stdout
}

/// The database file and its log.
fn dump_of_sqlite(directory: &File) -> Vec<u8> {
    let files = fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file").path());
    files.flat_map(|file| fs::read(file).expect("a file")).collect()
}

async fn on_sqlite(directory: &File) -> Ledger {
    Ledger::connect(&format!("sqlite://{}", directory.join("ledger.db").display())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_in_redis_nor_in_the_journal_beside_it() {
    for (sealed, in_redis, in_journal) in
        [(false, vec![KEY, SCOPE, BODY, HEADER, STEP], vec![BODY, HEADER]), (true, vec![], vec![])]
    {
        let (server, directory) = (RedisServer::start(), support::directory::in_memory());
        let ledger = on_sqlite(directory.path()).await;
        let store = patient().connect(&server.url()).await.expect("connects");
        requests(Idempotency::builder(store).commit_to(ledger.store()), sealed, &ledger).await;
        assert_eq!(server.cli(&["DBSIZE"]).trim(), "2");
        assert_eq!(found(&dump_of_redis(&server)), in_redis, "sealed: {sealed}");
        assert_eq!(found(&dump_of_sqlite(directory.path())), in_journal, "sealed: {sealed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_in_a_sqlite_store() {
    for (sealed, expected) in [(false, vec![BODY, HEADER, STEP]), (true, vec![])] {
        let directory = support::directory::in_memory();
        let ledger = on_sqlite(directory.path()).await;
        requests(Idempotency::builder(ledger.store().delete_expired_by_hand()), sealed, &ledger).await;
        assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 2);
        assert_eq!(found(&dump_of_sqlite(directory.path())), expected, "sealed: {sealed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stands_in_a_postgres_store_nor_in_a_journal_there() {
    for (sealed, in_store, in_journal) in
        [(false, vec![BODY, HEADER, STEP], vec![BODY, HEADER]), (true, vec![], vec![])]
    {
        let url = Postgres::shared().new_url().await;
        let ledger = Ledger::connect(&url).await;
        requests(Idempotency::builder(ledger.store().delete_expired_by_hand()), sealed, &ledger).await;
        assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 2);
        assert_eq!(found(&dump_of_postgres(&url)), in_store, "sealed: {sealed}");

        let url = Postgres::shared().new_url().await;
        let ledger = Ledger::connect(&url).await;
        let journaled = Idempotency::builder(MemoryStore::new()).commit_to(ledger.store());
        requests(journaled, sealed, &ledger).await;
        assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys").await, 1);
        assert_eq!(found(&dump_of_postgres(&url)), in_journal, "sealed: {sealed}");
    }
}
