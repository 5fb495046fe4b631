//! Why a [`RedisStore`](crate::RedisStore) could not be made.

use std::{error::Error, fmt};

use super::failure::RedisFailure;
use crate::error_chain::chain;

type Source = Box<dyn Error + Send + Sync>;

/// Why a [`RedisStore`](crate::RedisStore) could not be made, and what to change.
///
/// It is meant for the start of a service. No variant contains a user name or a password. `Debug` prints the same text
/// as `Display`, with the causes, because `fn main() -> Result<…>` and `expect` print `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The URL cannot be read, or needs something that this build does not have.
    #[error(
        "the Redis URL is wrong: write redis://[user:password@]host[:port][/database], rediss://… \
         with the feature redis-tls, or unix:///path/to/socket"
    )]
    Url(#[source] Source),
    /// No server answers at the address.
    #[error(
        "cannot reach Redis at {address}: is it running, and is the address right? To start without it, use \
         RedisStore::builder().lazy()"
    )]
    Unreachable {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
        /// The error of the network.
        source: Source,
    },
    /// Redis requires a user name or a password, or rejects those that were sent.
    #[error("Redis at {address} rejects the credentials: check user and password in the URL")]
    Unauthorised {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
    },
    /// The user may not run commands that the store needs.
    #[error(
        "the user may not run what the store needs on Redis at {address}: {commands}; the whole ACL is in the guide \
         idempotent_runtime::guide::operations"
    )]
    Forbidden {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
        /// The commands, as `ACL SETUSER` takes them: `+get +set`.
        commands: String,
    },
    /// Redis answers with an error.
    #[error(
        "Redis at {address} does not serve: see its log, and whether the user has the ACL of the guide \
         idempotent_runtime::guide::operations"
    )]
    Refused {
        /// Host and port, or the path of the socket; never the credentials.
        address: String,
        /// The code of the answer.
        source: Source,
    },
    /// The server is older than 7.0. A claim in one round trip needs `SET` with `NX` and `GET` together, which 7.0
    /// introduced.
    #[error("Redis {found} is too old: a RedisStore needs Redis 7.0 or later")]
    TooOld {
        /// The version that the server says it is.
        found: String,
    },
    /// With a memory limit and this policy the server drops claims, and a request whose claim was dropped runs twice.
    #[error(
        "Redis evicts records (maxmemory-policy {policy}): set it to noeviction, or accept second executions with \
         RedisStore::builder().allow_eviction()"
    )]
    Evicting {
        /// The server's `maxmemory-policy`.
        policy: String,
    },
    /// The server is a replica, which accepts no claims.
    #[error("Redis is a replica: connect to its master")]
    Replica,
    /// The server is part of a cluster. It would answer `MOVED` for other keys.
    #[error("Redis runs in cluster mode: use RedisStore::connect_cluster, of the feature redis-cluster")]
    ClusterMode,
}

impl fmt::Debug for RedisStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

impl RedisStoreError {
    pub(super) fn at(address: &str, cause: RedisFailure) -> Self {
        let address = address.to_owned();
        match cause {
            RedisFailure::Down(cause) => Self::at(&address, *cause),
            RedisFailure::Unauthorised => Self::Unauthorised { address },
            // Only the time has been asked for so far.
            RedisFailure::Forbidden => Self::forbidden(&address, &["time".to_owned()]),
            RedisFailure::Server(_)
            | RedisFailure::Unexpected
            | RedisFailure::ForbiddenKey
            | RedisFailure::Unfit(_) => Self::Refused { address, source: Box::new(cause) },
            RedisFailure::TimedOut | RedisFailure::Io(_) => Self::Unreachable { address, source: Box::new(cause) },
        }
    }

    pub(super) fn forbidden(address: &str, commands: &[String]) -> Self {
        let commands = commands.iter().map(|command| format!("+{command}")).collect::<Vec<_>>().join(" ");
        Self::Forbidden { address: address.to_owned(), commands }
    }

    /// The same reason, for a store that is running already and has no connection.
    pub(super) fn into_cause(self) -> RedisFailure {
        match self {
            Self::Unreachable { .. } => RedisFailure::Io(chain(&self)),
            Self::Unauthorised { .. } => RedisFailure::Unauthorised,
            _ => RedisFailure::Unfit(chain(&self)),
        }
    }
}
