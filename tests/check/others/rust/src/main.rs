//! One payment service, protected by the package that the first argument names, as its documentation shows it.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{FromRef, Request, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

type Payments = Arc<AtomicU64>;

#[derive(Deserialize)]
struct Payment {
    amount: f64,
}

async fn pay(State(payments): State<Payments>, wishes: HeaderMap, Json(payment): Json<Payment>) -> Response {
    let wish = |name| wishes.get(name).and_then(|value| value.to_str().ok()).and_then(|value| value.parse().ok());
    tokio::time::sleep(Duration::from_millis(wish("x-delay").unwrap_or(0))).await;
    if let Some(status) = wish("x-status").and_then(|status| StatusCode::from_u16(status as u16).ok()) {
        return status.into_response();
    }
    let id = payments.fetch_add(1, SeqCst) + 1;
    let body = Json(json!({ "id": id, "amount": payment.amount }));
    (StatusCode::CREATED, [("location", format!("/payments/{id}"))], body).into_response()
}

/// With this project's attribute.
#[idempotent_runtime::idempotent(ttl = "24h")]
async fn pay_once(State(app): State<App>, wishes: HeaderMap, payment: Json<Payment>) -> Response {
    pay(State(app.payments), wishes, payment).await
}

#[derive(Clone, FromRef)]
struct App {
    payments: Payments,
    idempotency: idempotent_runtime::Idempotency,
}

async fn log_in(request: Request, next: Next) -> Response {
    if request.headers().contains_key(AUTHORIZATION) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let payments = Payments::default();
    let route = Router::new().route("/payments", post(pay)).with_state(payments.clone());
    let protected = match env::args().nth(1).as_deref() {
        Some("idempotent-runtime") => {
            use idempotent_runtime::{Idempotency, MemoryStore};
            let app = App { payments: payments.clone(), idempotency: Idempotency::new(MemoryStore::new()) };
            Router::new().route("/payments", post(pay_once)).with_state(app)
        }
        Some("idempotent") => {
            use idempotent::{memory::MemoryStore, middleware::IdempotencyLayer};
            // Its documentation says to scope the keys by the caller.
            let caller = |parts: &axum::http::request::Parts| {
                parts.headers.get(AUTHORIZATION).and_then(|caller| caller.to_str().ok()).map(String::from)
            };
            route.layer(IdempotencyLayer::new(MemoryStore::builder().try_build()?).scope(caller))
        }
        Some("axum-idempotent") => {
            use axum_idempotent::{IdempotentLayer, IdempotentOptions};
            use ruts::{
                CookieOptions, Session, SessionLayer,
                store::{Ttl, moka::MokaStore},
            };
            let store = Arc::new(MokaStore::builder().build());
            let options = IdempotentOptions::default().use_idempotency_key_header(Some("Idempotency-Key"), true);
            // It protects requests that have a session, so there is a way to begin one.
            let begin = async |session: Session<MokaStore>| {
                let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
                session.set("caller", &"alice", Ttl::new(86_400).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?, None).await.map_err(failed)
            };
            route
                .layer(IdempotentLayer::<MokaStore>::new(options.expire_after(86_400)))
                .route("/session", post(begin))
                .layer(SessionLayer::new(store).with_cookie_options(CookieOptions::build().name("session").secure(false)))
                .layer(tower_cookies::CookieManagerLayer::new())
        }
        Some("by-hand") => {
            let client = redis::Client::open(env::var("REDIS_URL")?)?;
            let connection = client.get_multiplexed_async_connection().await?;
            route.layer(from_fn_with_state(connection, by_hand))
        }
        _ => return Err("say which package: idempotent-runtime, idempotent, axum-idempotent, by-hand".into()),
    };
    let count = Router::new().route("/payments/count", get(async move || payments.load(SeqCst).to_string()));
    let routes = protected.layer(from_fn(log_in)).merge(count);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
    Ok(axum::serve(listener, routes).await?)
}

/// `SET NX EX`, run, `SET` the response: what is often written by hand.
async fn by_hand(
    State(mut redis): State<redis::aio::MultiplexedConnection>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let failed = |_| StatusCode::SERVICE_UNAVAILABLE;
    let Some(key) = request.headers().get("idempotency-key").map(|key| key.as_bytes().to_vec()) else {
        return Ok(next.run(request).await);
    };
    let is_new: Option<String> =
        redis::cmd("SET").arg(&key).arg("").arg("NX").arg("EX").arg(86_400).query_async(&mut redis).await.map_err(failed)?;
    if is_new.is_none() {
        let stored: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.map_err(failed)?;
        let status = stored.get(..3).and_then(|status| StatusCode::from_bytes(status).ok());
        return Ok(match status {
            Some(status) => (status, stored.get(3..).unwrap_or_default().to_vec()).into_response(),
            None => StatusCode::CONFLICT.into_response(),
        });
    }
    let (parts, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, 1 << 20).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    if parts.status.is_server_error() {
        let _: () = redis::cmd("DEL").arg(&key).query_async(&mut redis).await.map_err(failed)?;
    } else {
        let stored = [parts.status.as_str().as_bytes(), &body].concat();
        let _: () =
            redis::cmd("SET").arg(&key).arg(stored).arg("EX").arg(86_400).query_async(&mut redis).await.map_err(failed)?;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}
