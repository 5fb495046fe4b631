//! How a [`RedisStore`] is made.

use std::time::Duration;

use redis::aio::ConnectionLike;

use super::{
    RedisStore,
    cause::Cause,
    checkup::Facts,
    error::RedisStoreError,
    link::{Dial, Given, Standalone},
    supervisor::{Patience, Supervisor},
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
}

impl RedisStoreBuilder {
    pub(super) fn new() -> Self {
        let patience = Patience { response: Duration::from_millis(250), connect: Duration::from_millis(300) };
        Self { patience, allow_eviction: false }
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

    /// Connects, and looks whether the server is fit to keep claims.
    ///
    /// # Errors
    /// As [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, RedisStoreError> {
        // What was sent and never acknowledged breaks the connection about when the calls on it have given up.
        let dial = Standalone::new(url, self.patience.response.saturating_mul(4))
            .map_err(|error| RedisStoreError::Url(Box::new(Cause::of_url(&error))))?;
        self.start(Box::new(dial)).await
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
        match redis.within(redis.ask(&redis::cmd("INFO"))).await {
            Ok(info) => {
                let nodes = Facts::read(&info);
                let cluster = matches!(info, redis::Value::Map(_));
                nodes.iter().try_for_each(|node| node.judge(self.allow_eviction, cluster))?;
                nodes.iter().for_each(Facts::warn);
            }
            Err(Cause::Server(code)) => {
                tracing::warn!(code, "Redis refuses INFO: its version and eviction policy are not checked");
            }
            Err(cause) => return Err(RedisStoreError::at(&address, cause)),
        }
        Ok(RedisStore { redis })
    }
}
