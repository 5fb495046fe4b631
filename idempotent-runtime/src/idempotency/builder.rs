//! [`IdempotencyBuilder`]: the settings of a whole service, with their defaults. `headers.rs` and `limits.rs` have more
//! of its methods.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use axum::{
    http::{HeaderName, header::AUTHORIZATION},
    response::Response,
};

use super::Idempotency;
use crate::{
    config::{AttemptFuture, Outage, policy::Terms, settings::Settings},
    engine::{Engine, Limits},
    journal::Journal,
    problem::{self, DEFAULT_BASE, Problem},
    store::{Store, StoreHandle},
};

const DEFAULT_NAMESPACE: &str = "idempotency";

/// A store in SQL is also a journal: its rows can take the response within the handler's own transaction.
fn own_journal(store: &dyn Any) -> Option<Box<dyn Journal>> {
    #[cfg(feature = "_sql")]
    {
        let shared = || store.downcast_ref::<Arc<crate::store::SqlStore>>().map(|store| &**store);
        let store = store.downcast_ref::<crate::store::SqlStore>().or_else(shared)?;
        Some(Box::new(crate::journal::CommitTable::with_claims(store.clone())))
    }
    #[cfg(not(feature = "_sql"))]
    {
        let _ = store;
        None
    }
}

/// The settings of an [`Idempotency`]. Every setting has a default.
#[must_use]
pub struct IdempotencyBuilder {
    store: StoreHandle,
    journal: Option<Box<dyn Journal>>,
    pub(super) limits: Limits,
    #[cfg(feature = "encryption")]
    keys: Option<crate::store::sealing::EncryptionKeys>,
    pub(super) settings: Settings,
}

impl IdempotencyBuilder {
    pub(crate) fn new(store: impl Store) -> Self {
        let journal = own_journal(&store);
        Self::over(StoreHandle::new(store), journal)
    }

    pub(crate) fn over(store: StoreHandle, journal: Option<Box<dyn Journal>>) -> Self {
        Self {
            journal,
            store,
            limits: Limits { in_flight: 10_000, waiters: 1_000, buffered: 256 << 20 },
            #[cfg(feature = "encryption")]
            keys: None,
            settings: Settings {
                #[cfg(feature = "encryption")]
                name_secret: None,
                disabled: false,
                namespace: DEFAULT_NAMESPACE.to_owned(),
                header: HeaderName::from_static("idempotency-key"),
                header_aliases: Vec::new(),
                credentials: vec![AUTHORIZATION],
                credential_cookies: Vec::new(),
                fingerprint_headers: Vec::new(),
                never_replay: Vec::new(),
                terms: Terms::DEFAULT,
                max_request: 64 << 20,
                max_response: 1 << 20,
                response_patience: Duration::from_millis(250),
                store_timeout: Duration::from_millis(500),
                max_attempt: Duration::from_secs(10 * 60),
                outage: Outage::Refuse,
                look_for_commits_first: false,
                wrap_attempt: None,
                problem_base: DEFAULT_BASE,
                on_problem: None,
            },
        }
    }

    pub(super) fn disabled(mut self) -> Self {
        self.settings.disabled = true;
        self
    }

    /// The first part of every name in the store. Default: `idempotency`.
    ///
    /// Services that share a store need different namespaces. Otherwise, when a gateway passes a key on to a service,
    /// the service would find the gateway's claim.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// Wraps every handler that runs under a claim, to carry the context of its request. Default: nothing.
    ///
    /// A handler runs inside its request, so it sees the task-locals of outer layers. When its client hangs up, the
    /// rest of it runs in its own task, without them. `wrap` is called inside the request, so it can keep what the
    /// handler needs:
    ///
    /// ```
    /// use idempotent_runtime::{Idempotency, MemoryStore};
    ///
    /// tokio::task_local! { static TENANT: String; }
    ///
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .wrap_attempt(|attempt| match TENANT.try_with(String::clone) {
    ///         Ok(tenant) => Box::pin(TENANT.scope(tenant, attempt)),
    ///         Err(_) => attempt,
    ///     })
    ///     .build();
    /// ```
    pub fn wrap_attempt(mut self, wrap: impl Fn(AttemptFuture) -> AttemptFuture + Send + Sync + 'static) -> Self {
        self.settings.wrap_attempt = Some(Box::new(wrap));
        self
    }

    /// What happens while the store cannot be reached. Default: [`Outage::Refuse`].
    pub fn outage(mut self, outage: Outage) -> Self {
        self.settings.outage = outage;
        self
    }

    /// The base of a problem's `type`: the problem's slug is appended to it. Default: the page of this documentation,
    /// [`problems`](crate::problems).
    pub fn problem_base(mut self, base: &'static str) -> Self {
        self.settings.problem_base = base;
        self
    }

    /// Answers problems in the service's own format.
    ///
    /// If the answer lacks them, the engine adds `Retry-After`, and the `Location` of a result whose response was not
    /// kept. If the answer has no body, its body becomes `application/problem+json`. A [`Problem`] implements
    /// `Display`: its title and what the client can do.
    ///
    /// ```
    /// use axum::{Json, response::IntoResponse};
    /// use idempotent_runtime::{Idempotency, MemoryStore};
    /// use serde_json::json;
    ///
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .on_problem(|problem| {
    ///         let code = problem.kind().slug();
    ///         let error = json!({ "error": { "code": code, "message": problem.to_string() } });
    ///         (problem.kind().status(), Json(error)).into_response()
    ///     })
    ///     .build();
    /// ```
    pub fn on_problem(mut self, answer: impl Fn(Problem) -> Response + Send + Sync + 'static) -> Self {
        self.settings.on_problem = Some(Box::new(answer));
        self
    }

    /// The database in which [`Claim::commit`](crate::Claim::commit) writes responses: that of the handlers' own
    /// transactions. Default: the store, if it is a [`SqlStore`](crate::SqlStore). With another store there is none, and
    /// a commit is an error.
    ///
    /// Claims are then in one place, Redis for example, and committed responses in the table of the other:
    ///
    /// ```
    /// # #[cfg(feature = "sqlx-sqlite")]
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use idempotent_runtime::{Idempotency, MemoryStore, SqlStore};
    ///
    /// let db = sqlx::SqlitePool::connect("sqlite://payments.db?mode=rwc").await?;
    /// let commits = SqlStore::sqlite(db.clone());
    /// commits.migrate().await?;
    /// let idempotency = Idempotency::builder(MemoryStore::new()).commit_to(commits).build();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// If the database does not answer, a commit fails with an error, and its transaction is rolled back. If a handler
    /// ended without a commit, or an earlier attempt died, the client gets 503 `journal-unavailable` and nothing is
    /// stored. The retry is told that the attempt before it died.
    #[cfg(feature = "_sql")]
    pub fn commit_to(mut self, database: crate::store::SqlStore) -> Self {
        self.journal = Some(Box::new(crate::journal::CommitTable::beside(database)));
        self
    }

    /// Looks for a committed response before each first attempt. Default: no.
    ///
    /// If Redis loses its data, a retry of a request that has committed runs again. Its commit then finds the first
    /// response, is rolled back, and the client gets that response. With this setting the handler does not run in that
    /// case. It costs a query for each first attempt, and is only useful with [`commit_to`](Self::commit_to).
    #[cfg(feature = "_sql")]
    pub fn look_for_commits_first(mut self) -> Self {
        self.settings.look_for_commits_first = true;
        self
    }

    /// Encrypts responses and steps before they reach the store and the database of commits. Default: they are stored unencrypted.
    ///
    /// ```
    /// use idempotent_runtime::{EncryptionKeys, Idempotency, MemoryStore};
    ///
    /// # let (new_key, old_key) = ([2; 32], [1; 32]);
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .encrypt(EncryptionKeys::new([(2, new_key), (1, old_key)]))
    ///     .build();
    /// ```
    ///
    /// A record that cannot be decrypted gets 500 `record-unreadable`, and the handler does not run. This is so for a
    /// record that was forged, moved to another key, cut off or changed, and for one that was encrypted with a key that
    /// this service does not have.
    ///
    /// Encryption does not hide sizes, times, whether an attempt is running, and the number of records.
    /// [`hash_names`](Self::hash_names) hides keys and scopes.
    #[cfg(feature = "encryption")]
    pub fn encrypt(mut self, keys: crate::store::sealing::EncryptionKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Replaces method, route, scope and key in the store's names by their HMAC-SHA-256 under this secret of 32 random
    /// bytes. Fingerprints are hashed with it as well. Default: names are readable, and a fingerprint is a plain hash.
    ///
    /// The namespace stays readable. Do not rotate this secret: another one gives other names, and other values of
    /// [`Claim::derive_key`](crate::Claim::derive_key), so every retry would be a first request.
    #[cfg(feature = "encryption")]
    pub fn hash_names(mut self, secret: [u8; 32]) -> Self {
        self.settings.name_secret = Some(crate::config::name_secret::NameSecret::new(secret));
        self
    }

    /// The handle for the router's state.
    #[must_use]
    pub fn build(mut self) -> Idempotency {
        self.settings.max_request = self.settings.max_request.min(self.limits.buffered);
        self.settings.terms = self.settings.terms.in_range();
        if self.settings.namespace == DEFAULT_NAMESPACE && self.store.is_shared() {
            crate::telemetry::log!(DEFAULT_NAMESPACE);
        }
        #[cfg(feature = "encryption")]
        if let Some(keys) = self.keys {
            #[cfg(feature = "_sql")]
            if let Some(journal) = &mut self.journal {
                journal.encrypt(keys.clone());
            }
            self.store = self.store.sealed(keys);
        }
        let metrics = problem::metrics(&self.settings.namespace);
        let engine = Engine::new(self.settings, self.store, self.journal.map(Arc::from), &self.limits, metrics);
        Idempotency { engine: Arc::new(engine) }
    }
}

impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyBuilder").field("namespace", &self.settings.namespace).finish_non_exhaustive()
    }
}
