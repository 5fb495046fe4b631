//! [`Idempotency`]: the handle that a router's state gives to its protected handlers.

mod builder;
mod headers;
mod limits;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use axum::{Extension, extract::FromRef};

pub use builder::IdempotencyBuilder;

use crate::{config::settings::Settings, engine::Engine, store::Store};

/// The handle that a router's state gives to protected handlers, by [`FromRef`](axum::extract::FromRef).
///
/// Clones are cheap and share everything. If the router needs no other state, use `.with_state(idempotency)`:
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
/// If the router has its own state, add the handle as a field:
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
    /// An `Idempotency` with all defaults of the [`builder`](Self::builder).
    pub fn new(store: impl Store) -> Self {
        Self::builder(store).build()
    }

    /// A builder with all defaults. Each default is stated at its setting.
    pub fn builder(store: impl Store) -> IdempotencyBuilder {
        IdempotencyBuilder::new(store)
    }

    /// An `Idempotency` that protects nothing: every handler runs as if it had no attribute, and keys are not read. For
    /// tests of handlers.
    #[must_use]
    pub fn disabled() -> Self {
        Self::builder(crate::store::MemoryStore::builder().max_records(0).build()).disabled().build()
    }

    /// Puts the handle into every request's extensions, for handlers with `#[idempotent(store = extension)]`.
    ///
    /// Use it for a router that has no state, or whose state is not yours. If a handler is not under this layer, it
    /// answers with 500 and a message that says what to add.
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

    /// Resolves when no request with a key is in flight and no background work is left: attempts whose clients hung up
    /// have ended, their responses are stored, and unused claims are released.
    ///
    /// A handler may outlive its client's connection. So let axum's graceful shutdown finish first, then drain. Set a
    /// time limit that fits the time your platform grants:
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

    pub(crate) fn into_engine(self) -> Arc<Engine> {
        self.engine
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

// Users cannot write these impls, because neither the trait nor `Idempotency` nor `Arc` is defined in their crate.

/// `.with_state(Arc::new(app))`: an `Arc<App>` provides what `App` provides.
impl<T> FromRef<Arc<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Arc<T>) -> Self {
        Self::from_ref(&**state)
    }
}

/// `.with_state(app)` with a `&'static App`, such as `Box::leak` returns.
impl<T> FromRef<&T> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &&T) -> Self {
        Self::from_ref(*state)
    }
}

/// The lock is held at the start of each request, while the handle is cloned.
impl<T> FromRef<Mutex<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &Mutex<T>) -> Self {
        Self::from_ref(&*state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The lock is held for reading at the start of each request, while the handle is cloned.
impl<T> FromRef<RwLock<T>> for Idempotency
where
    Self: FromRef<T>,
{
    fn from_ref(state: &RwLock<T>) -> Self {
        Self::from_ref(&*state.read().unwrap_or_else(PoisonError::into_inner))
    }
}
