//! Why a [`RedisStore`](crate::RedisStore) could not be made.

use std::error::Error;

use super::cause::Cause;

type Source = Box<dyn Error + Send + Sync>;

/// Why a [`RedisStore`](crate::RedisStore) could not be made, and what to change.
///
/// Meant for the start of a service. No variant carries a user name or a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The URL cannot be read, or asks for something that this build cannot do.
    #[error(
        "the Redis URL is wrong: write redis://[user:password@]host[:port][/database], rediss://… \
         with the feature redis-tls, or unix:///path/to/socket"
    )]
    Url(#[source] Source),
    /// Nobody answers there.
    #[error("cannot reach Redis at {address}: is it running, and is the address right?")]
    Unreachable {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
        /// What the network said.
        source: Source,
    },
    /// Redis wants a user name or a password, or other ones.
    #[error("Redis at {address} rejects the credentials: check user and password in the URL")]
    Unauthorised {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
    },
    /// Redis is there, but it answers with an error.
    #[error("Redis at {address} does not serve: may the user run the commands that RedisStore's documentation lists?")]
    Refused {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
        /// The code of the answer.
        source: Source,
    },
    /// `SET` with `NX` and `GET` together, by which a claim is one round trip, needs version 7.0.
    #[error("Redis {found} is too old: a RedisStore needs Redis 7.0 or later")]
    TooOld {
        /// The version that the server says it is.
        found: String,
    },
    /// With a memory limit and this policy the server forgets claims, and a forgotten claim runs twice.
    #[error(
        "Redis evicts records (maxmemory-policy {policy}): set it to noeviction, or accept second executions with \
         RedisStore::builder().allow_eviction()"
    )]
    Evicting {
        /// The server's `maxmemory-policy`.
        policy: String,
    },
    /// A replica does not take claims.
    #[error("Redis is a replica: connect to its master")]
    Replica,
    /// Every other key would be answered with `MOVED`.
    #[error("Redis runs in cluster mode: use RedisStore::connect_cluster, of the feature redis-cluster")]
    ClusterMode,
}

impl RedisStoreError {
    pub(super) fn at(address: &str, cause: Cause) -> Self {
        let address = address.to_owned();
        match cause {
            Cause::Unauthorised => Self::Unauthorised { address },
            Cause::Server(_) | Cause::Nonsense => Self::Refused { address, source: Box::new(cause) },
            Cause::TimedOut | Cause::Io(_) => Self::Unreachable { address, source: Box::new(cause) },
        }
    }
}
