//! A server on a free port, over real sockets.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{FromRef, State},
    http::{Method, StatusCode},
};
use idempotent_runtime::{Idempotency, idempotent};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Call, Runs, Wire};

/// The state of every test's router.
#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) idempotency: Idempotency,
    pub(crate) runs: Runs,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) idempotency: Idempotency,
    pub(crate) runs: Runs,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(idempotency: Idempotency, routes: Router<App>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let runs = Runs::default();
        let app = App { idempotency: idempotency.clone(), runs: runs.clone() };
        let accepting = tokio::spawn(async move { axum::serve(listener, routes.with_state(app)).await.unwrap() });
        Self { address, idempotency, runs, accepting }
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, format!("http://{}{path}", self.address))
    }

    /// A bare connection, for requests that no client library would send.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A handler for tests that need nothing special. It answers with the number of its execution.
#[idempotent(ttl = "24h")]
pub(crate) async fn create(State(runs): State<Runs>) -> (StatusCode, String) {
    (StatusCode::CREATED, runs.begin().to_string())
}
