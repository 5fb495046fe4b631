//! [`RedisStore`]: claims that every instance of a service shares.

mod builder;
mod cause;
mod checkup;
mod clock;
mod error;
mod header;
mod link;
mod protocol;
mod scripts;
mod supervisor;

use std::time::{Duration, SystemTime};

use ::redis::aio::ConnectionLike;
use bytes::Bytes;

use self::supervisor::Supervisor;
pub use self::{builder::RedisStoreBuilder, error::RedisStoreError};
use super::{Answer, Attempt, Completion, Ending, Renewal, Sighting, Store, StoreError, StoreKey};

/// Keeps claims and responses in Redis (7.0 or later) or Valkey, for any number of processes.
///
/// A claim is one command and one round trip, and so is a replay; a first execution is two. Every decision on time is
/// made by the server's clock. Each call has a deadline. A connection that broke, fell silent or leads to a replica is
/// replaced; while that fails, calls fail at once, and when Redis is back it is used again within a second.
///
/// Set `maxmemory-policy noeviction`: a server that evicts forgets claims, and is refused. When memory runs out, new
/// claims are refused, while replays go on and completions still land. A user with an ACL needs `GET`, `SET`,
/// `GETRANGE`, `EXISTS`, `DEL`, `PTTL`, `PEXPIRE`, `EVAL`, `EVALSHA`, `TIME` and, for the check at the
/// start, `INFO`.
///
/// Redis replicates behind its answers. A failover can lose claims that were acknowledged, and a request whose claim
/// was lost can run twice.
///
/// ```no_run
/// use idempotent_runtime::{Idempotency, RedisStore};
///
/// # async fn doc() -> Result<(), idempotent_runtime::RedisStoreError> {
/// let idempotency = Idempotency::new(RedisStore::connect("redis://127.0.0.1:6379").await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RedisStore {
    redis: Supervisor,
}

impl RedisStore {
    /// Connects to one server: `redis://[user:password@]host[:port][/database]`, or `unix:///path/to/socket`.
    ///
    /// # Errors
    /// When the URL is wrong, nobody answers, the credentials are rejected, or the server must not keep claims: older
    /// than 7.0, evicting under a memory limit, a replica, or in cluster mode.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        Self::builder().connect(url).await
    }

    /// Uses a connection that there is already, of whatever topology: a `ConnectionManager`, a cluster connection.
    ///
    /// It should heal itself: of a plain `MultiplexedConnection` nothing is left when it breaks, so prefer
    /// [`connect`](Self::connect). Every call has this store's deadline, whatever the connection's own are.
    ///
    /// # Errors
    /// When nobody answers, or the server must not keep claims, as with [`connect`](Self::connect).
    pub async fn from_connection<C>(connection: C) -> Result<Self, RedisStoreError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::builder().connection(connection).await
    }

    /// A store with settings of your own.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::new()
    }
}

impl Store for RedisStore {
    async fn claim(&self, attempt: &Attempt) -> Result<Answer, StoreError> {
        self.redis.within(protocol::claim(&self.redis, attempt)).await
    }

    async fn renew(&self, attempt: &Attempt, fence: u64) -> Result<Renewal, StoreError> {
        self.redis.within(protocol::renew(&self.redis, attempt, fence)).await
    }

    async fn complete(&self, attempt: &Attempt, fence: u64, record: Bytes) -> Result<Completion, StoreError> {
        self.redis.within(protocol::complete(&self.redis, attempt, fence, &record)).await
    }

    async fn release(&self, attempt: &Attempt) -> Result<Ending, StoreError> {
        self.redis.within(protocol::release(&self.redis, attempt)).await
    }

    async fn abandon(&self, attempt: &Attempt) -> Result<Ending, StoreError> {
        self.redis.within(protocol::abandon(&self.redis, attempt)).await
    }

    async fn look(&self, key: &StoreKey) -> Result<Sighting, StoreError> {
        self.redis.within(protocol::look(&self.redis, key)).await
    }

    async fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(self.redis.clock().micros()))
    }
}
