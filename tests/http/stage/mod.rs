//! What a test works with: a store, a real server on a free port, and a client.

mod call;
mod process;
mod runs;
mod server;
mod store;
mod wire;

use std::{future::Future, time::Duration};

use axum::Router;
use idempotent_runtime::{IdempotencyBuilder, MemoryStore};
use support::{redis_server::RedisServer, redis_store::patient, sql_store};
use tempfile::TempDir;

pub(crate) use self::{
    call::{Answer, Call},
    process::{Processes, ServerProcess},
    runs::Runs,
    server::{App, Server, create},
    store::{Fault, Op, TestStore},
    wire::Wire,
};

/// How long a test waits for something that must happen. It is long, so that a busy machine does not fail the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Makes each of the named functions a test in a module of each store.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stage::Stage::memory()).await;
            })+
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stage::Stage::redis().await).await;
            })+
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stage::Stage::sqlite().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stage::Stage::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_every_store;

/// Makes each of the named functions a test with the memory store alone: what happens does not depend on the store.
macro_rules! on_memory {
    ($($test:ident),+ $(,)?) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stage::Stage::memory()).await;
            })+
        }
    };
}
pub(crate) use on_memory;

/// A store of the test's own.
pub(crate) struct Stage {
    pub(crate) store: TestStore,
    pub(crate) redis: Option<RedisServer>,
    _directory: Option<TempDir>,
}

impl Stage {
    pub(crate) fn memory() -> Self {
        Self::memory_of(MemoryStore::new())
    }

    pub(crate) fn memory_of(store: MemoryStore) -> Self {
        Self { store: TestStore::new(store), redis: None, _directory: None }
    }

    pub(crate) async fn redis() -> Self {
        let server = RedisServer::start();
        let store = patient().connect(&server.url()).await.unwrap();
        Self { store: TestStore::new(store), redis: Some(server), _directory: None }
    }

    pub(crate) async fn sqlite() -> Self {
        let (store, directory) = sql_store::on_sqlite().await;
        Self { store: TestStore::new(store), redis: None, _directory: Some(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        Self { store: TestStore::new(sql_store::on_postgres().await), redis: None, _directory: None }
    }

    /// The defaults, except for a long store timeout.
    pub(crate) fn settings(&self) -> IdempotencyBuilder {
        self.store.builder().store_timeout(PATIENCE)
    }

    /// Serves the routes with the defaults.
    pub(crate) async fn serve(&self, routes: Router<App>) -> Server {
        self.serve_with(self.settings(), routes).await
    }

    pub(crate) async fn serve_with(&self, settings: IdempotencyBuilder, routes: Router<App>) -> Server {
        Server::start(settings.build(), routes).await
    }
}

/// Waits for something that must happen. If it does not happen, the test fails and says what it waited for.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    soon(what, async {
        while !Box::pin(ask()).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
