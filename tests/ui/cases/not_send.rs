//! Begins in the first column, where the attribute knows that no generic parameter is concerned.
#![allow(dead_code)]

use std::{future::ready, rc::Rc, sync::Mutex};

use axum::{Router, debug_handler, extract::State, routing::post};
use idempotent_runtime::{Idempotency, idempotent};

#[idempotent]
async fn shared(State(_idempotency): State<Idempotency>, body: String) -> String {
    let shared = Rc::new(body);
    ready(()).await;
    shared.to_string()
}

#[idempotent(header = "webhook-id")]
pub(crate) async fn locked(body: String) {
    let lock = Mutex::new(body);
    let guard = lock.lock().unwrap();
    ready(()).await;
    drop(guard);
}

mod in_a_module {
    use super::*;

    #[idempotent]
    #[debug_handler]
    pub(super) async fn checked() {
        let shared = Rc::new(());
        ready(()).await;
        drop(shared);
    }

    // As with axum itself, the router says less.
    #[idempotent]
    pub(super) async fn unchecked() {
        let shared = Rc::new(());
        ready(()).await;
        drop(shared);
    }
}

fn routes() -> Router<Idempotency> {
    Router::new().route("/shared", post(shared)).route("/unchecked", post(in_a_module::unchecked))
}

fn main() {}
