//! A receiver for webhooks of Standard Webhooks, GitHub and Stripe. Each event takes effect once, even if the provider
//! delivers it several times.
//!
//! Run it with `WEBHOOK_SECRET=whsec_… GITHUB_SECRET=… STRIPE_SECRET=… cargo run --example webhooks`. The key is the
//! provider's id of the delivery. An extractor checks the signature, so the check runs before any replay. A delivery with a
//! wrong signature does not use up its key.

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

/// The provider signs each delivery again, with another time stamp, but the id stays the same. The provider delivers again
/// until it gets a 2xx answer, so only a success is stored. The `ttl` is longer than the time for which the provider repeats
/// a delivery.
#[idempotent(ttl = "7d", header = "webhook-id", replay = "success")]
async fn standard(State(app): State<App>, Signed(event): Signed<StandardEvent>) -> String {
    app.process(&event.r#type)
}

/// GitHub sends a redelivery with the id of the first delivery.
#[idempotent(ttl = "7d", header = "X-GitHub-Delivery", fingerprint = "none", replay = "success")]
async fn github(State(app): State<App>, Signed(event): Signed<GitHubEvent>) -> String {
    app.process(&event.action)
}

/// Stripe sends the id in the body. Other members of the body may differ in the next delivery (`pending_webhooks`), so the
/// body is not compared.
#[idempotent(ttl = "7d", key = event.id, fingerprint = "none", replay = "success")]
async fn stripe(State(app): State<App>, Signed(event): Signed<StripeEvent>) -> String {
    app.process(&event.r#type)
}

impl App {
    /// A real service would mark an order as paid here, or start a build.
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
    // Some events have no action.
    #[serde(default)]
    action: String,
}

#[derive(Deserialize)]
struct StripeEvent {
    id: String,
    r#type: String,
}

/// The body of a request whose signature was checked.
struct Signed<T>(T);

/// What is needed to check a signature.
struct Proof {
    /// The text that was signed together with the body. It comes before the body.
    prefix: String,
    /// The signatures of the request. One of them has to be right.
    signatures: Vec<Vec<u8>>,
}

/// How a provider signs its deliveries.
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
            // HMAC takes a secret of any length, so this does not fail.
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

/// Whether the time is within five minutes of now. So nobody can send an old delivery again.
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
