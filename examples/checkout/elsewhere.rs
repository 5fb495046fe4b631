//! The services outside the shop: a payment provider and a mail service. Both take idempotency keys.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

/// How often one of the services was asked, and what it did for each key.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) requests: usize,
    pub(crate) by_key: HashMap<String, Value>,
}

#[derive(Clone, Default)]
pub(crate) struct Elsewhere {
    charges: Arc<Mutex<Done>>,
    mails: Arc<Mutex<Done>>,
}

impl Elsewhere {
    /// Starts both services on one port, and returns their address.
    pub(crate) async fn start(&self) -> std::io::Result<String> {
        let routes = Router::new().route("/charges", post(charge)).route("/mails", post(mail)).with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(format!("http://{address}"))
    }

    pub(crate) fn charges(&self) -> MutexGuard<'_, Done> {
        self.charges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mails(&self) -> MutexGuard<'_, Done> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.charges() = Done::default();
        *self.mails() = Done::default();
    }
}

impl Done {
    pub(crate) fn told(&self) -> String {
        format!("{}, asked {}", self.by_key.len(), self.requests)
    }

    /// Runs `act` once for each key. A repeated request gets the first answer.
    fn once(&mut self, headers: &HeaderMap, act: impl FnOnce() -> Value) -> Result<Json<Value>, StatusCode> {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).ok_or(StatusCode::BAD_REQUEST)?;
        self.requests += 1;
        Ok(Json(self.by_key.entry(key.to_owned()).or_insert_with(act).clone()))
    }
}

async fn charge(State(elsewhere): State<Elsewhere>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    elsewhere.charges().once(&headers, || json!({ "receipt": Uuid::new_v4() }))
}

async fn mail(State(elsewhere): State<Elsewhere>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    elsewhere.mails().once(&headers, || json!({ "id": Uuid::new_v4() }))
}
