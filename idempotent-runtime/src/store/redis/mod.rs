//! [`RedisStore`]: claims in Redis, shared by every instance of a service.

mod builder;
mod check;
mod clock;
mod connect;
mod credentials;
mod error;
mod failure;
mod register;
mod scripts;
mod supervisor;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::redis::aio::ConnectionLike;

pub use self::{builder::RedisStoreBuilder, credentials::RedisCredentials, error::RedisStoreError};
use self::{supervisor::Supervisor, watch::Watch};
use super::{Expect, Put, Seen, Store, StoreError, StoreKey, Swapped};

/// Keeps claims and responses in Redis, 7.0 or later, or in Valkey, for any number of processes. The tests run Redis 7.0 and
/// 8.0 and Valkey 8.1 and 9.1.
///
/// A claim is one command in one round trip, and so is a replay. A first execution takes two. Whether a time has passed
/// is decided by the server's clock. Each call has a deadline. A connection that is broken, silent or leads to a
/// replica is replaced. Calls fail at once while that is not possible. When Redis is reachable again, it is used within
/// a second.
///
/// Set `maxmemory-policy noeviction`. A server that evicts would drop claims, so it is refused. When memory runs out,
/// new claims are refused, while replays go on and completions are still stored. The guide
/// [`operations`](https://docs.rs/idempotent-runtime/latest/idempotent_runtime/guide/operations/index.html) lists the permissions that the Redis user needs.
///
/// Redis answers before its replicas have the data. A failover can therefore lose claims, and a request whose claim was
/// lost can run twice.
///
/// ```no_run
/// use idempotent_runtime::{Idempotency, RedisStore};
///
/// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
/// let idempotency = Idempotency::new(RedisStore::connect("redis://127.0.0.1:6379").await?);
/// # Ok(()) }
/// ```
///
/// Clones share the connection. So two [`Idempotency`](crate::Idempotency) with different settings can use one Redis.
#[derive(Clone, Debug)]
pub struct RedisStore {
    redis: Arc<Supervisor>,
    /// It stops with the last clone.
    _watch: Option<Arc<Watch>>,
}

impl RedisStore {
    fn new(redis: Arc<Supervisor>, watch: Option<Watch>) -> Self {
        Self { redis, _watch: watch.map(Arc::new) }
    }

    /// Connects to one server: `redis://[user:password@]host[:port][/database]`, `unix:///path/to/socket`, or, with the
    /// feature `redis-tls`, `rediss://…`.
    ///
    /// # Errors
    /// If the URL is wrong, nobody answers, the credentials are rejected, or the server must not keep claims: it is
    /// older than 7.0, evicts under a memory limit, is a replica, or runs in cluster mode.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        Self::builder().connect(url).await
    }

    /// Connects to a cluster, by the URLs of some of its nodes. The other nodes are found, and slots that move are
    /// followed.
    ///
    /// A key is in one slot, so the node of that slot keeps all its data. User and password are those of the first URL
    /// and the same for every node. While a slot has no master, requests with keys in it are refused; all others work.
    ///
    /// ```no_run
    /// # use idempotent_runtime::RedisStore;
    /// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
    /// let store = RedisStore::connect_cluster(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"]).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If a URL is wrong, no node answers, or a node must not keep claims, as with [`connect`](Self::connect).
    #[cfg(feature = "redis-cluster")]
    pub async fn connect_cluster<U: Into<String>>(nodes: impl IntoIterator<Item = U>) -> Result<Self, RedisStoreError> {
        Self::builder().connect_cluster(nodes).await
    }

    /// Connects to the master of a name, by the URLs of sentinels. They are asked again whenever a connection is lost
    /// or leads to a replica.
    ///
    /// `master` is the name, or a URL with the name in place of the host: `redis://user:password@payments/2`. The URLs
    /// of the sentinels contain the sentinels' own credentials, if they require any.
    ///
    /// ```no_run
    /// # use idempotent_runtime::RedisStore;
    /// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let store = RedisStore::connect_sentinel(sentinels, "redis://app:secret@payments").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If a URL is wrong, no sentinel knows a master that answers, or the master must not keep claims, as with
    /// [`connect`](Self::connect).
    #[cfg(feature = "redis-sentinel")]
    pub async fn connect_sentinel<U: Into<String>>(
        sentinels: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self, RedisStoreError> {
        Self::builder().connect_sentinel(sentinels, master).await
    }

    /// Uses an existing connection, of any topology: a `ConnectionManager`, a cluster connection.
    ///
    /// The connection should reconnect by itself. A plain `MultiplexedConnection` does not, so prefer
    /// [`connect`](Self::connect). Every call has this store's deadline beside the connection's own limits.
    ///
    /// # Errors
    /// If nobody answers, or the server must not keep claims, as with [`connect`](Self::connect).
    pub async fn from_connection<C>(connection: C) -> Result<Self, RedisStoreError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::builder().connection(connection).await
    }

    /// A builder, for other settings than the defaults.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }
}

impl Store for RedisStore {
    async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        self.redis.within(|call| register::read(call, key)).await
    }

    async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        self.redis.within(|call| register::swap(call, key, expect, put)).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(self.redis.now().await?)
    }

    fn answers_within(&self) -> Option<Duration> {
        Some(self.redis.timeouts.response)
    }

    /// A connection that the service has made ([`from_connection`](Self::from_connection)) is used for heartbeats too.
    fn for_heartbeats(&self) -> Option<Self> {
        Some(Self { redis: self.redis.beside(), _watch: None })
    }
}
