//! How a [`RedisStore`] is made.

use std::time::Duration;

use redis::aio::ConnectionLike;

use super::{
    RedisStore,
    cause::Cause,
    checkup::Facts,
    error::RedisStoreError,
    link::{Dial, Given, Standalone, Tls},
    supervisor::{Patience, Supervisor},
    watch::Watch,
};

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
    patience: Patience,
    allow_eviction: bool,
    tls: Tls,
    watch_every: Duration,
}

impl RedisStoreBuilder {
    pub(super) fn new() -> Self {
        let patience = Patience { response: Duration::from_millis(250), connect: Duration::from_millis(300) };
        Self { patience, allow_eviction: false, tls: Tls::default(), watch_every: Duration::from_secs(10) }
    }

    /// How long one call may take, waiting for a new connection included. Default: 250 ms.
    ///
    /// Keep it well below the engine's `store_timeout` (500 ms), so that a call whose answer was lost can be repeated
    /// within that.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.patience.response = timeout;
        self
    }

    /// How long one attempt to connect may take, from name resolution to the first answer. Default: 300 ms.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.patience.connect = timeout;
        self
    }

    /// Accepts a server that evicts records when it is full. Default: refused.
    ///
    /// A request whose record was evicted runs again when it is retried.
    pub fn allow_eviction(mut self) -> Self {
        self.allow_eviction = true;
        self
    }

    /// How often every server is asked whether it was restarted or evicted records, beside after each new connection.
    /// Default: 10 s; zero turns it off.
    ///
    /// What it finds is logged, and counted with the feature `metrics`.
    pub fn watch_every(mut self, interval: Duration) -> Self {
        self.watch_every = interval;
        self
    }

    /// Trusts these authorities, and not those of the operating system. PEM; for `rediss://` addresses.
    #[cfg(feature = "redis-tls")]
    pub fn tls_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.trust(pem.into());
        self
    }

    /// Shows this certificate to the server, where it asks for one (`tls-auth-clients`). Both PEM.
    #[cfg(feature = "redis-tls")]
    pub fn tls_identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.identify(certificate.into(), key.into());
        self
    }

    /// Connects, and looks whether the server is fit to keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, RedisStoreError> {
        let dial = Standalone::new(url, &self.tls, self.unacknowledged());
        self.dial(dial).await
    }

    /// Connects to a cluster, and looks whether its nodes are fit to keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect_cluster`].
    #[cfg(feature = "redis-cluster")]
    pub async fn connect_cluster<U: Into<String>>(
        self,
        nodes: impl IntoIterator<Item = U>,
    ) -> Result<RedisStore, RedisStoreError> {
        let nodes: Vec<String> = nodes.into_iter().map(Into::into).collect();
        let dial = super::link::Cluster::new(&nodes, &self.tls, self.patience);
        self.dial(dial).await
    }

    /// Connects to the master that sentinels name, and looks whether it is fit to keep claims.
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
        let dial = super::link::Sentinel::new(&sentinels, master, &self.tls, self.unacknowledged());
        self.dial(dial).await
    }

    async fn dial<D: Dial + 'static>(self, dial: redis::RedisResult<D>) -> Result<RedisStore, RedisStoreError> {
        let dial = dial.map_err(|error| RedisStoreError::Url(Box::new(Cause::of_url(&error))))?;
        self.start(Box::new(dial)).await
    }

    /// What was sent and never acknowledged breaks the connection about when the calls on it have given up.
    fn unacknowledged(&self) -> Duration {
        self.patience.response.saturating_mul(4)
    }

    /// Uses a connection that there is already, and looks whether the server is fit to keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::from_connection`].
    pub async fn connection<C>(self, connection: C) -> Result<RedisStore, RedisStoreError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.start(Box::new(Given(connection))).await
    }

    async fn start(self, dial: Box<dyn Dial>) -> Result<RedisStore, RedisStoreError> {
        let address = dial.address();
        let redis =
            Supervisor::start(dial, self.patience).await.map_err(|cause| RedisStoreError::at(&address, cause))?;
        let watch = match redis.within(redis.ask(&redis::cmd("INFO"))).await {
            Ok(info) => {
                let nodes = Facts::read(&info);
                let cluster = matches!(info, redis::Value::Map(_));
                nodes.iter().try_for_each(|(_, node)| node.judge(self.allow_eviction, cluster))?;
                for (_, node) in nodes.iter() {
                    node.warn();
                }
                (!self.watch_every.is_zero()).then(|| Watch::start(redis.clone(), nodes, self.watch_every))
            }
            Err(Cause::Server(code)) => {
                tracing::warn!(code, "Redis refuses INFO: its version and eviction policy are not checked");
                None
            }
            // A cluster serves while one of its nodes does not.
            Err(cause) if redis.is_many() => {
                tracing::warn!(%cause, "a node of the cluster does not answer INFO: none is checked");
                (!self.watch_every.is_zero()).then(|| Watch::start(redis.clone(), Vec::new(), self.watch_every))
            }
            Err(cause) => return Err(RedisStoreError::at(&address, cause)),
        };
        Ok(RedisStore { redis, _watch: watch })
    }
}
