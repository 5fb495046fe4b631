//! [`Idempotency`]: what a router's state offers to its protected handlers.

mod builder;
mod states;

use std::{fmt, sync::Arc};

use axum::Extension;

pub use builder::IdempotencyBuilder;

use crate::{config::settings::Settings, engine::Engine, store::Store};

/// The handle that a router's state offers to protected handlers, by [`FromRef`](axum::extract::FromRef).
///
/// Cloning is cheap and shares everything. A router with no other state uses `.with_state(idempotency)`:
///
/// ```
/// use axum::{Router, http::StatusCode, routing::post};
/// use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
///
/// #[idempotent(ttl = "24h")]
/// async fn create() -> StatusCode {
///     StatusCode::CREATED
/// }
///
/// let app: Router = Router::new().route("/payments", post(create)).with_state(Idempotency::new(MemoryStore::new()));
/// ```
///
/// A state of your own holds it as a field:
///
/// ```
/// use axum::extract::FromRef;
/// use idempotent_runtime::Idempotency;
///
/// #[derive(Clone)]
/// struct App {
///     idempotency: Idempotency,
/// }
///
/// impl FromRef<App> for Idempotency {
///     fn from_ref(app: &App) -> Self {
///         app.idempotency.clone()
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Idempotency {
    engine: Arc<Engine>,
}

impl Idempotency {
    /// All defaults of [`builder`](Self::builder).
    pub fn new(store: impl Store) -> Self {
        Self::builder(store).build()
    }

    /// Starts from the defaults, each stated at its setting.
    pub fn builder(store: impl Store) -> IdempotencyBuilder {
        IdempotencyBuilder::new(store)
    }

    /// Runs every handler as if it had no attribute; keys are not even read. For tests of handlers.
    #[must_use]
    pub fn disabled() -> Self {
        Self::builder(crate::MemoryStore::builder().max_records(0).build()).disabled().build()
    }

    /// Puts the handle into every request's extensions, for handlers with `#[idempotent(store = extension)]`.
    ///
    /// It is for routers whose state is not yours, or that have none. A handler that the layer does not reach answers
    /// with 500 and says what to add.
    ///
    /// ```
    /// use axum::{Router, http::StatusCode, routing::post};
    /// use idempotent_runtime::{Idempotency, MemoryStore, idempotent};
    ///
    /// #[idempotent(store = extension)]
    /// async fn create() -> StatusCode {
    ///     StatusCode::CREATED
    /// }
    ///
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// let app: Router = Router::new().route("/payments", post(create)).layer(idempotency.layer());
    /// ```
    pub fn layer(&self) -> Extension<Self> {
        Extension(self.clone())
    }

    /// Resolves when no request with a key is in flight and nothing goes on behind an answer: attempts whose clients hung
    /// up have ended, their responses are stored, and claims that nobody uses are released.
    ///
    /// A handler outlives the connection of its client, so a graceful shutdown first lets axum finish and then drains.
    /// Bound it by the time that your platform grants:
    ///
    /// ```no_run
    /// # async fn shutdown(idempotency: idempotent_runtime::Idempotency) {
    /// let _ = tokio::time::timeout(std::time::Duration::from_secs(25), idempotency.drain()).await;
    /// # }
    /// ```
    pub async fn drain(&self) {
        self.engine.load.drained().await;
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.engine.settings
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { disabled, namespace, .. } = self.settings();
        f.debug_struct("Idempotency").field("namespace", namespace).field("disabled", disabled).finish_non_exhaustive()
    }
}
