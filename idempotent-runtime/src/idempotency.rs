//! [`Idempotency`]: what a router's state offers to its protected handlers.

mod builder;

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    http::HeaderName,
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use builder::IdempotencyBuilder;

use crate::{
    journal::Journal,
    problem::Problem,
    store::{DynStore, Store},
    waiting::Waiting,
};

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

/// What all clones share.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    pub(crate) waiting: Waiting,
    /// Every detached task, so that a shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Claims without an answer that are being set free again.
    pub(crate) ghosts: Arc<Semaphore>,
    /// KiB of responses that were sent and are still to be stored.
    pub(crate) unsaved: Arc<Semaphore>,
}

/// What the builder was told.
pub(crate) struct Settings {
    pub(crate) disabled: bool,
    pub(crate) namespace: String,
    pub(crate) header: HeaderName,
    pub(crate) credentials: Vec<HeaderName>,
    pub(crate) max_request: usize,
    pub(crate) max_response: usize,
    pub(crate) store_timeout: Duration,
    pub(crate) max_attempt: Duration,
    pub(crate) outage: Outage,
    problem_base: &'static str,
    on_problem: Option<Box<dyn Fn(Problem) -> Response + Send + Sync>>,
}

/// What happens to a request while the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// 503 `store-unavailable`; the handler does not run. A retry after the outage cannot run twice.
    #[default]
    Refuse,
    /// The handler runs without a claim, if nothing at all is known of the key. Retries during the outage run again.
    RunUnprotected,
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

    /// Resolves when every detached attempt has ended and what it answered is stored, or given up on.
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
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
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

impl Settings {
    /// The answer for a problem: the service's own, or `application/problem+json`.
    pub(crate) fn answer(&self, problem: Problem) -> Response {
        let problem = problem.based_on(self.problem_base);
        match &self.on_problem {
            Some(answer) => answer(problem),
            None => problem.into_response(),
        }
    }
}
