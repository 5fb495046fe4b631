//! Webhooks that take effect once, however often they are delivered: Standard Webhooks, GitHub and Stripe.
//!
//! `WEBHOOK_SECRET=whsec_… GITHUB_SECRET=… STRIPE_SECRET=… cargo run --example webhooks`. A delivery's own id is the key. Its
//! signature is checked by an extractor, so before any replay; a wrong one leaves the key unused.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRef, FromRequest, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::Sha256;

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    secrets: Arc<Secrets>,
    processed: Arc<AtomicU64>,
}

struct Secrets {
    standard: Vec<u8>,
    github: Vec<u8>,
    stripe: Vec<u8>,
}

/// Each delivery is signed anew, with another time, and keeps its id. Only a success is final: any other answer asks for
/// another delivery, so the `ttl` is longer than the provider goes on delivering.
#[idempotent(ttl = "7d", header = "webhook-id", replay = "success")]
async fn standard(State(app): State<App>, Signed(event): Signed<StandardEvent>) -> String {
    app.process(&event.r#type)
}

/// A redelivery has the id of the first delivery.
#[idempotent(ttl = "7d", header = "X-GitHub-Delivery", fingerprint = "none", replay = "success")]
async fn github(State(app): State<App>, Signed(event): Signed<GitHubEvent>) -> String {
    app.process(&event.action)
}

/// The id is in the body, whose other members may differ in the next delivery (`pending_webhooks`).
#[idempotent(ttl = "7d", key = event.id, fingerprint = "none", replay = "success")]
async fn stripe(State(app): State<App>, Signed(event): Signed<StripeEvent>) -> String {
    app.process(&event.r#type)
}

impl App {
    /// Here an order would be paid, or a build started.
    fn process(&self, what: &str) -> String {
        format!("{}: {what}\n", self.processed.fetch_add(1, Relaxed) + 1)
    }
}

#[derive(Deserialize)]
struct StandardEvent {
    r#type: String,
}

#[derive(Deserialize)]
struct GitHubEvent {
    // Not every event has one.
    #[serde(default)]
    action: String,
}

#[derive(Deserialize)]
struct StripeEvent {
    id: String,
    r#type: String,
}

/// The body of a request whose signature is right.
struct Signed<T>(T);

/// What was signed, in front of the body, and the signatures of which one has to be right.
struct Proof {
    prefix: String,
    signatures: Vec<Vec<u8>>,
}

trait Delivery: DeserializeOwned {
    fn secret(secrets: &Secrets) -> &[u8];
    fn proof(headers: &HeaderMap) -> Option<Proof>;
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
impl Delivery for StandardEvent {
    fn secret(secrets: &Secrets) -> &[u8] {
        &secrets.standard
    }

    fn proof(headers: &HeaderMap) -> Option<Proof> {
        let (id, time) = (text(headers, "webhook-id")?, text(headers, "webhook-timestamp")?);
        let signatures = text(headers, "webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let signatures = signatures.filter_map(|one| BASE64_STANDARD.decode(one).ok()).collect();
        is_recent(time).then(|| Proof { prefix: format!("{id}.{time}."), signatures })
    }
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
impl Delivery for GitHubEvent {
    fn secret(secrets: &Secrets) -> &[u8] {
        &secrets.github
    }

    fn proof(headers: &HeaderMap) -> Option<Proof> {
        let signature = text(headers, "x-hub-signature-256")?.strip_prefix("sha256=")?;
        Some(Proof { prefix: String::new(), signatures: vec![hex::decode(signature).ok()?] })
    }
}

/// <https://docs.stripe.com/webhooks/signature>
impl Delivery for StripeEvent {
    fn secret(secrets: &Secrets) -> &[u8] {
        &secrets.stripe
    }

    fn proof(headers: &HeaderMap) -> Option<Proof> {
        let parts: Vec<_> =
            text(headers, "stripe-signature")?.split(',').filter_map(|part| part.split_once('=')).collect();
        let time = parts.iter().find(|(name, _)| *name == "t")?.1;
        let signatures = parts.iter().filter(|(name, _)| *name == "v1");
        let signatures = signatures.filter_map(|(_, one)| hex::decode(one).ok()).collect();
        is_recent(time).then(|| Proof { prefix: format!("{time}."), signatures })
    }
}

impl<T: Delivery> FromRequest<App> for Signed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let proof = T::proof(request.headers());
        let body = Bytes::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        let is_right = |proof: &Proof| {
            // Any length is a key; this cannot fail.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(T::secret(&app.secrets)) else { return false };
            mac.update(proof.prefix.as_bytes());
            mac.update(&body);
            proof.signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
        };
        if !proof.as_ref().is_some_and(is_right) {
            return Err((StatusCode::UNAUTHORIZED, "no valid signature\n").into_response());
        }
        let event = serde_json::from_slice(&body);
        event.map(Self).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Within five minutes of now, so that nobody can send an old delivery again.
fn is_recent(time: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    time.parse::<u64>().is_ok_and(|time| time.abs_diff(now) <= 300)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = |name| env::var(name).map_err(|_| format!("{name} is not set"));
    let secrets = Secrets {
        standard: BASE64_STANDARD.decode(secret("WEBHOOK_SECRET")?.trim_start_matches("whsec_"))?,
        github: secret("GITHUB_SECRET")?.into_bytes(),
        stripe: secret("STRIPE_SECRET")?.into_bytes(),
    };
    let idempotency = Idempotency::builder(MemoryStore::new()).namespace("webhooks").build();
    let app = App { idempotency, secrets: Arc::new(secrets), processed: Arc::default() };
    let router = Router::new()
        .route("/standard", post(standard))
        .route("/github", post(github))
        .route("/stripe", post(stripe))
        .with_state(app);
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
