//! The same digest identifies a request in every place where an operator sees it: in spans and events, in the admin
//! view, in `Idempotency::digest`, and as the first digits of the key in the tables of a journal and of a store.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRef, State},
    http::{Method, Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{
    AdminRouter, Claim, CommitError, Committed, Idempotency, IdempotencyBuilder, MemoryStore, RequestName, idempotent,
};
use sqlx::Row as _;
use support::{ledger::Ledger, observed::Observed, postgres::Postgres, redis_store::PATIENCE};
use tower::ServiceExt as _;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
}

#[idempotent(ttl = "1h")]
async fn pay(State(ledger): State<Ledger>, claim: Claim) -> Result<Committed, CommitError> {
    match ledger {
        Ledger::Sqlite(pool) => claim.commit(pool.begin().await?, StatusCode::CREATED).await,
        Ledger::Postgres(pool) => claim.commit(pool.begin().await?, StatusCode::CREATED).await,
    }
}

async fn post_to(router: &Router, path: &str, headers: &[(&str, &str)], body: String) -> (StatusCode, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

/// The key of the only row, in hexadecimal.
async fn key_in(ledger: &Ledger, table: &str) -> String {
    let key = format!("SELECT key FROM {table}");
    let key: Vec<u8> = match ledger {
        Ledger::Sqlite(pool) => sqlx::query(&key).fetch_one(pool).await.unwrap().get(0),
        Ledger::Postgres(pool) => sqlx::query(&key).fetch_one(pool).await.unwrap().get(0),
    };
    hex::encode(key)
}

/// `table` is the table that has the row of the request.
async fn one_digest_everywhere(builder: IdempotencyBuilder, ledger: Ledger, table: &str, observed: Observed) {
    let idempotency = builder.namespace("digests").store_timeout(PATIENCE).build();
    let router = Router::new()
        .route("/payments", post(pay))
        .with_state(App { idempotency: idempotency.clone(), ledger: ledger.clone() });
    let (status, _) = post_to(&router, "/payments", &[("idempotency-key", "k")], String::new()).await;
    assert_eq!(status, StatusCode::CREATED);

    let digest = idempotency.digest(&RequestName::new(Method::POST, "/payments", "k"));
    assert_eq!(digest.len(), 16);
    assert!(key_in(&ledger, table).await.starts_with(&digest), "the key in {table}");

    let admin = AdminRouter::new(idempotency).handler(Method::POST, "/payments").into_router();
    let json = [("content-type", "application/json")];
    let (status, found) = post_to(&admin, "/lookup", &json, r#"{"key": "k"}"#.to_owned()).await;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap_or_else(|_| panic!("{status}: {found}"));
    assert_eq!(found["requests"][0]["digest"], digest, "{found}");

    let named = format!("idempotency.digest={digest}");
    let lines = observed.lines();
    let has = |what: &str| lines.iter().any(|line| line.starts_with(what) && line.contains(&named));
    assert!(has("recorded"), "the span: {lines:#?}");
    assert!(has("event"), "the end of the attempt: {lines:#?}");
}

macro_rules! scenarios {
    ($($name:ident: |$ledger:ident| $builder:expr, $table:literal;)*) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                let observed = super::Observed::default();
                observed.during(async {
                    let directory = support::directory::in_memory();
                    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
                    let $ledger = super::Ledger::connect(&url).await;
                    super::one_digest_everywhere($builder, $ledger, $table, observed.clone()).await;
                });
            })*
        }
        mod postgresql {
            $(#[test]
            fn $name() {
                let observed = super::Observed::default();
                observed.during(async {
                    let $ledger = super::Ledger::connect(&super::Postgres::shared().new_url().await).await;
                    super::one_digest_everywhere($builder, $ledger, $table, observed.clone()).await;
                });
            })*
        }
    };
}

scenarios! {
    with_a_journal: |ledger| super::journaled(&ledger), "idempotency_keys";
    with_a_journal_and_hashed_names: |ledger| super::journaled(&ledger).hash_names([7; 32]), "idempotency_keys";
    with_a_store_in_the_database: |ledger| super::Idempotency::builder(ledger.store()), "idempotency_keys";
}

fn journaled(ledger: &Ledger) -> IdempotencyBuilder {
    Idempotency::builder(MemoryStore::new()).commit_to(ledger.store())
}
