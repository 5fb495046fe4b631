//! The builder of a [`RedisStore`].

use std::{error::Error, sync::Arc, time::Duration};

use redis::aio::ConnectionLike;

#[cfg(feature = "redis-tls")]
use super::connect::Certificates;
use super::{
    RedisStore,
    check::{ServerInfo, check},
    connect::{Connect, Options, Standalone, Timeouts, UserConnection},
    credentials::{Provider, RedisCredentials},
    error::RedisStoreError,
    failure::RedisFailure,
    supervisor::{Check, Supervisor},
    watch::Watch,
};
use crate::config;

/// The settings of a [`RedisStore`].
///
/// ```no_run
/// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
/// use std::time::Duration;
/// use idempotent_runtime::RedisStore;
///
/// let store = RedisStore::builder().response_timeout(Duration::from_millis(150)).connect("redis://127.0.0.1").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisStoreBuilder {
    options: Options,
    allow_eviction: bool,
    lazy: bool,
    watch_every: Duration,
}

impl RedisStoreBuilder {
    pub(super) fn new() -> Self {
        Self {
            options: Options {
                timeouts: Timeouts { response: Duration::from_millis(250), connect: Duration::from_millis(300) },
                credentials: Provider::default(),
                #[cfg(feature = "redis-tls")]
                certificates: Certificates::default(),
            },
            allow_eviction: false,
            lazy: false,
            watch_every: Duration::from_secs(10),
        }
    }

    /// How long one call may take, including the wait for a new connection. Default: 250 ms.
    ///
    /// Choose less than half of the engine's `store_timeout` (500 ms), so that a call whose answer was lost can be
    /// repeated in time. The most is one hour.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.response = config::time_limit(timeout);
        self
    }

    /// How long one attempt to connect may take, from name resolution to the first answer. Default: 300 ms. The
    /// most is one hour.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.connect = config::time_limit(timeout);
        self
    }

    /// Accepts a server that evicts records when it is full. Default: refused.
    ///
    /// A request whose record was evicted runs again when it is retried.
    pub fn allow_eviction(mut self) -> Self {
        self.allow_eviction = true;
        self
    }

    /// Starts even if Redis cannot be reached, and connects as soon as possible. Default: an error, so that a wrong
    /// address is noticed when the service starts.
    ///
    /// Until Redis is reached, every call fails at once, as during an outage. A server that must not keep claims, or
    /// that rejects the credentials, does not count as an outage: calls fail with
    /// [`StoreError::Forbidden`](crate::store::StoreError::Forbidden), and the log says what to change. A wrong URL is
    /// always an error here.
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
    /// use idempotent_runtime::RedisStore;
    ///
    /// let store = RedisStore::builder().lazy().connect("redis://127.0.0.1").await?;
    /// # Ok(()) }
    /// ```
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Asks for user name and password before every connection, instead of using those in the URL. For passwords that
    /// change while the service runs, such as tokens of a cloud's identity service.
    ///
    /// An open connection keeps the credentials that it was opened with. An error of the provider counts as an outage,
    /// and its text is not logged. The time that the provider takes counts towards
    /// [`connect_timeout`](Self::connect_timeout), so return a token that is already cached. With Sentinel these are
    /// the master's credentials. A connection of your own ([`connection`](Self::connection)) is not affected.
    ///
    /// ```no_run
    /// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
    /// use idempotent_runtime::{RedisStore, store::RedisCredentials};
    ///
    /// let provider = || async {
    ///     let token = std::fs::read_to_string("/run/secrets/redis-token")?;
    ///     Ok::<_, std::io::Error>(RedisCredentials::new("payments", token.trim_end()))
    /// };
    /// let store = RedisStore::builder().credentials_provider(provider).connect("rediss://cache.internal").await?;
    /// # Ok(()) }
    /// ```
    pub fn credentials_provider<F, E>(mut self, provider: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<RedisCredentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.options.credentials = Provider::new(provider);
        self
    }

    /// How often every server is asked whether it was restarted or has evicted records. It is also asked after each new
    /// connection. Default: 10 s. Zero turns it off.
    ///
    /// The findings are logged, and counted with the feature `metrics`.
    pub fn watch_every(mut self, interval: Duration) -> Self {
        self.watch_every = interval;
        self
    }

    /// Trusts these certificate authorities instead of the operating system's. In PEM, for `rediss://` addresses.
    #[cfg(feature = "redis-tls")]
    pub fn tls_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.options.certificates.get_mut().root_cert = Some(pem.into());
        self
    }

    /// The client certificate for a server that asks for one (`tls-auth-clients`), and its key. Both in PEM.
    #[cfg(feature = "redis-tls")]
    pub fn tls_identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let (client_cert, client_key) = (certificate.into(), key.into());
        self.options.certificates.get_mut().client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
        self
    }

    /// Connects, and checks whether the server may keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, RedisStoreError> {
        let connect = Standalone::new(url, self.options.clone());
        self.start_at(connect).await
    }

    /// Connects to a cluster, and checks whether its nodes may keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect_cluster`].
    #[cfg(feature = "redis-cluster")]
    pub async fn connect_cluster<U: Into<String>>(
        self,
        nodes: impl IntoIterator<Item = U>,
    ) -> Result<RedisStore, RedisStoreError> {
        let nodes: Vec<String> = nodes.into_iter().map(Into::into).collect();
        let connect = super::connect::Cluster::new(&nodes, self.options.clone());
        self.start_at(connect).await
    }

    /// Connects to the master that sentinels name, and checks whether it may keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect_sentinel`].
    #[cfg(feature = "redis-sentinel")]
    pub async fn connect_sentinel<U: Into<String>>(
        self,
        sentinels: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<RedisStore, RedisStoreError> {
        let sentinels: Vec<String> = sentinels.into_iter().map(Into::into).collect();
        let connect = super::connect::Sentinel::new(&sentinels, master, self.options.clone());
        self.start_at(connect).await
    }

    /// Uses an existing connection, and checks whether the server may keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::from_connection`].
    pub async fn connection<C>(self, connection: C) -> Result<RedisStore, RedisStoreError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.start(UserConnection::new(connection)).await
    }

    async fn start_at<C: Connect + 'static>(
        self,
        connect: redis::RedisResult<C>,
    ) -> Result<RedisStore, RedisStoreError> {
        self.start(connect.map_err(|error| RedisStoreError::Url(Box::new(RedisFailure::of_url(&error))))?).await
    }

    async fn start<C: Connect + 'static>(self, connect: C) -> Result<RedisStore, RedisStoreError> {
        if self.lazy {
            return Ok(self.start_lazily(connect));
        }
        let connect = Arc::new(connect);
        let failed = |cause| RedisStoreError::at(&connect.address(), cause);
        let redis = Supervisor::start(connect.clone(), self.options.timeouts).await.map_err(failed)?;
        let current = redis.current().await.map_err(failed)?;
        let limit = self.options.timeouts.response;
        let nodes = check(&*connect, &current.connection, limit, self.allow_eviction).await?;
        let watch = nodes.and_then(|nodes| self.watch(&redis, nodes));
        Ok(RedisStore::new(redis, watch))
    }

    fn start_lazily<C: Connect + 'static>(&self, connect: C) -> RedisStore {
        let connect = Arc::new(connect);
        let (checked, allow_eviction, limit) = (connect.clone(), self.allow_eviction, self.options.timeouts.response);
        let check: Check = Box::new(move |connection| {
            let connect = checked.clone();
            Box::pin(async move {
                let checked = check(&*connect, connection, limit, allow_eviction).await;
                checked.map(drop).map_err(RedisStoreError::into_cause)
            })
        });
        let redis = Supervisor::start_lazily(connect, self.options.timeouts, check);
        let watch = self.watch(&redis, Vec::new());
        RedisStore::new(redis, watch)
    }

    fn watch(&self, redis: &Arc<Supervisor>, nodes: Vec<(Option<String>, ServerInfo)>) -> Option<Watch> {
        (!self.watch_every.is_zero()).then(|| Watch::start(Arc::clone(redis), nodes, self.watch_every))
    }
}
