//! What is one choice for a whole service, with its defaults.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use axum::{
    http::{HeaderName, header::AUTHORIZATION},
    response::Response,
};

use super::Idempotency;
use crate::{
    config::{AttemptFuture, Outage, settings::Settings},
    engine::{Engine, Limits},
    journal::Journal,
    response::problem::{DEFAULT_BASE, Problem},
    store::{Store, StoreHandle},
};

const DEFAULT_NAMESPACE: &str = "idempotency";

/// A store in SQL is a journal as well: its rows can take the response in the handler's own transaction.
fn own_journal(store: &dyn Any) -> Option<Arc<dyn Journal>> {
    #[cfg(feature = "_sql")]
    {
        let shared = || store.downcast_ref::<Arc<crate::SqlStore>>().map(|store| &**store);
        let store = store.downcast_ref::<crate::SqlStore>().or_else(shared)?;
        Some(Arc::new(store.clone()))
    }
    #[cfg(not(feature = "_sql"))]
    {
        let _ = store;
        None
    }
}

/// The settings of an [`Idempotency`]; every one has a default that suits most services.
#[must_use]
pub struct IdempotencyBuilder {
    store: StoreHandle,
    journal: Option<Arc<dyn Journal>>,
    limits: Limits,
    #[cfg(feature = "encryption")]
    keys: Option<crate::EncryptionKeys>,
    settings: Settings,
}

impl IdempotencyBuilder {
    pub(super) fn new(store: impl Store) -> Self {
        Self {
            journal: own_journal(&store),
            store: StoreHandle::new(store),
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
                max_request: 64 << 20,
                max_response: 1 << 20,
                response_patience: Duration::from_millis(250),
                store_timeout: Duration::from_millis(500),
                max_attempt: Duration::from_secs(10 * 60),
                outage: Outage::Refuse,
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
    /// Services that share a store must differ in it: a gateway that passes a key on must not meet its own claim.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// The header that carries the key. Default: `Idempotency-Key`.
    ///
    /// # Panics
    /// If `name` is not a header's name. That is a mistake in the program, seen at its start.
    pub fn header(mut self, name: &str) -> Self {
        self.settings.header = header_name("header", name);
        self
    }

    /// Other headers in which the key may come, such as the name that it had before. Default: none.
    ///
    /// The key is the same in each of them. A request that has two different keys gets 400 `key-invalid`.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).header_aliases(["X-Idempotency-Key"]).build();
    /// ```
    ///
    /// # Panics
    /// If one of them is not a header's name. That is a mistake in the program, seen at its start.
    pub fn header_aliases<N>(mut self, names: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.header_aliases = header_names("header_aliases", names);
        self
    }

    /// The headers that tell one caller from another, for handlers without a `scope`. Default: `Authorization`.
    ///
    /// Their values become part of what a retry must repeat, so that no caller is shown another one's response. Name
    /// every header by which callers or their tenants are known: an API key's, a tenant's. Of `Cookie` the whole counts;
    /// [`credential_cookie`](Self::credential_cookie) names the one that does.
    ///
    /// A deploy that changes this setting makes retries of earlier requests 422 `key-reused`.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).credentials(["Authorization", "X-Tenant"]).build();
    /// ```
    ///
    /// # Panics
    /// If one of them is not a header's name. That is a mistake in the program, seen at its start.
    pub fn credentials<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.credentials = header_names("credentials", headers);
        self
    }

    /// A cookie that tells one caller from another, beside the [`credentials`](Self::credentials). Default: none.
    ///
    /// Other cookies then do not count, and may change between tries. Call it again for another cookie.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).credential_cookie("session").build();
    /// ```
    pub fn credential_cookie(mut self, name: impl Into<String>) -> Self {
        self.settings.credential_cookies.push(name.into());
        self
    }

    /// More headers in which a retry must equal the first request, such as `Accept` or a version's. Default: none.
    ///
    /// Query, body, `Content-Type`, `Content-Encoding` and preconditions (`If-Match` and the like) always count.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).fingerprint_headers(["Accept", "X-Api-Version"]).build();
    /// ```
    ///
    /// # Panics
    /// If one of them is not a header's name. That is a mistake in the program, seen at its start.
    pub fn fingerprint_headers<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.fingerprint_headers = header_names("fingerprint_headers", headers);
        self
    }

    /// More response headers that belong to one exchange and are not replayed. Default: none, beside those that
    /// `docs/contract.md` lists.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).never_replay(["X-Served-By"]).build();
    /// ```
    ///
    /// # Panics
    /// If one of them is not a header's name. That is a mistake in the program, seen at its start.
    pub fn never_replay<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.never_replay = header_names("never_replay", headers);
        self
    }

    /// The largest request body that can be protected, in bytes. Default: 64 MiB; axum's own limit, 2 MiB unless
    /// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit) says otherwise, comes first.
    ///
    /// The body is hashed while the handler's last argument reads it, to tell a retry from another request. What that
    /// argument does not read is read before the handler runs.
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.settings.max_request = bytes;
        self
    }

    /// The largest response that is stored, in bytes of headers and body. Default: 1 MiB.
    ///
    /// A larger one reaches its client, and a retry gets 409 `not-replayable`.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.settings.max_response = bytes;
        self
    }

    /// How many bytes of request bodies may be held at once, of all protected requests in flight together. Default: 256
    /// MiB; a request that does not fit gets 503 `too-many-in-flight`.
    ///
    /// No body larger than this can be protected, whatever [`max_request`](Self::max_request) says.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.limits.buffered = bytes;
        self
    }

    /// How long a response whose length is not known is read before it is sent. Default: 250 ms.
    ///
    /// One that takes longer is first stored without its body, so that nothing runs again, and sent as it comes; once it
    /// has ended within [`max_response`](Self::max_response) the whole of it is stored. Until then a retry gets 409
    /// `not-replayable`. A response whose length is announced is waited for, for 30 seconds at the most.
    pub fn response_patience(mut self, patience: Duration) -> Self {
        self.settings.response_patience = patience;
        self
    }

    /// How long a claim or a completion may take, repeats included. Default: 500 ms.
    ///
    /// A claim that takes longer is answered with 503; a completion that takes longer is sent and stored behind it.
    ///
    /// At most an hour; a claim never takes longer than the handler's `lease`.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.store_timeout = timeout.min(Duration::from_secs(60 * 60));
        self
    }

    /// How long an attempt's lease is renewed. Default: 10 minutes.
    ///
    /// After it heartbeats stop and [`Claim::lost`](crate::Claim::lost) fires, so that a handler that hangs does not
    /// hold its key for ever. The handler itself goes on.
    pub fn max_attempt(mut self, duration: Duration) -> Self {
        self.settings.max_attempt = duration;
        self
    }

    /// How many protected requests with a key may be in flight, waiters and detached handlers included. Default: 10,000;
    /// one more gets 503 `too-many-in-flight`.
    ///
    /// Detached handlers escape concurrency limits in outer layers; this one holds them.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.limits.in_flight = requests;
        self
    }

    /// How many duplicates may wait for one key, by the attribute's `wait`. Default: 1,000; one more is answered with 409
    /// `in-flight` at once.
    ///
    /// So a slow key that many clients ask for does not use up [`max_in_flight`](Self::max_in_flight) for all others.
    pub fn max_waiters(mut self, requests: usize) -> Self {
        self.limits.waiters = requests;
        self
    }

    /// Wraps every handler that runs under a claim, to carry context of its request. Default: nothing.
    ///
    /// A handler runs inside its request, so it sees the task-locals of outer layers. When its client hangs up, the rest of
    /// it goes on in a task of its own, without them. `wrap` is called inside the request and may keep what it needs:
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

    /// What a problem's slug is appended to for its `type`. Default: the page of this documentation,
    /// [`problems`](crate::problems).
    pub fn problem_base(mut self, base: &'static str) -> Self {
        self.settings.problem_base = base;
        self
    }

    /// Answers problems in the service's own format.
    ///
    /// What clients need whatever the format is, the engine adds where the answer has none: `Retry-After`, and the
    /// `Location` of a result that was not kept. An answer without a body gets `application/problem+json` as its body. A
    /// [`Problem`] can be displayed: its title and what the client can do.
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

    /// The journal in which [`Claim::commit`](crate::Claim::commit) records responses. Default: the store, if it is a
    /// [`SqlStore`](crate::SqlStore); else none, and a commit is an error then.
    ///
    /// It has to be in the database in which the handlers' own transactions are.
    #[cfg(feature = "_sql")]
    pub fn journal(mut self, journal: crate::SqlJournal) -> Self {
        self.journal = Some(Arc::new(journal));
        self
    }

    /// Encrypts responses and steps before the store and the journal are given them. Default: they stand there as they are.
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
    /// What does not decrypt is answered with 500 `record-unreadable`, and nothing runs: a record that was forged, moved
    /// to another key, cut off or changed, or whose key this service does not have. Sizes, times, statuses of claims and
    /// the number of records are not hidden, and keys and scopes only by [`hash_names`](Self::hash_names).
    #[cfg(feature = "encryption")]
    pub fn encrypt(mut self, keys: crate::EncryptionKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Replaces method, route, scope and key in the store's names by their HMAC-SHA-256 under this secret of 32 random
    /// bytes, and fingerprints likewise. Default: names are readable, and a fingerprint is a plain hash.
    ///
    /// The namespace stays readable. Another secret makes other names, and other values of
    /// [`Claim::derive_key`](crate::Claim::derive_key): after a change every retry is a first request. So it is not rotated.
    #[cfg(feature = "encryption")]
    pub fn hash_names(mut self, secret: [u8; 32]) -> Self {
        self.settings.name_secret = Some(crate::config::name_secret::NameSecret::new(secret));
        self
    }

    /// The handle for the router's state.
    #[must_use]
    pub fn build(mut self) -> Idempotency {
        self.settings.max_request = self.settings.max_request.min(self.limits.buffered);
        if self.settings.namespace == DEFAULT_NAMESPACE && self.store.is_shared() {
            tracing::warn!("the namespace is the default one: services that share a store must differ in it");
        }
        #[cfg(feature = "encryption")]
        if let Some(keys) = self.keys {
            #[cfg(feature = "_sql")]
            {
                let sealed = |journal| {
                    let keys = keys.clone();
                    Arc::new(crate::journal::sealed::SealedJournal { journal, keys }) as Arc<dyn Journal>
                };
                self.journal = self.journal.map(sealed);
            }
            self.store = self.store.sealed(keys);
        }
        let engine = Engine::new(self.settings, self.store, self.journal, &self.limits);
        Idempotency { engine: Arc::new(engine) }
    }
}

fn header_names<N>(setting: &str, names: impl IntoIterator<Item = N>) -> Vec<HeaderName>
where
    N: TryInto<HeaderName, Error: fmt::Debug>,
{
    names.into_iter().map(|name| header_name(setting, name)).collect()
}

fn header_name<N>(setting: &str, name: N) -> HeaderName
where
    N: TryInto<HeaderName, Error: fmt::Debug>,
{
    #[allow(clippy::panic)] // at start-up, as documented
    name.try_into().unwrap_or_else(|error| panic!("`{setting}` takes the names of HTTP headers: {error:?}"))
}

impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyBuilder").field("namespace", &self.settings.namespace).finish_non_exhaustive()
    }
}
