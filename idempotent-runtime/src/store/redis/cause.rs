//! What went wrong on the way to Redis, in words that are safe to log.

use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::store::StoreError;

/// A failure without its details: servers quote what they were sent (`ERR unknown command 'HELLO', with args beginning
/// with: '3' 'AUTH' 'default' 'the password'`), so of a server's error only the code is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No answer in time.
    TimedOut,
    /// There is no connection, or it broke.
    Io(String),
    /// The user name or the password is wrong, or missing.
    Unauthorised,
    /// The server's error code, such as `OOM`.
    Server(String),
    /// The server, or something between, answered what no Redis answers.
    Nonsense,
}

impl Cause {
    /// What is wrong with a URL: the parser's own fixed words, and nothing of the URL.
    pub(super) fn of_url(error: &RedisError) -> Self {
        let words = error.to_string();
        Self::Io(words.split(" - ").next().unwrap_or_default().to_owned())
    }

    /// The server refused to write because it is short of memory.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Server(code) if code == "OOM")
    }

    /// The server writes to nobody: it is a replica now, most likely after a failover.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::Server(code) if code == "READONLY")
    }

    /// The server does not write, but it still reads.
    pub(super) fn forbids_writing(&self) -> bool {
        matches!(self, Self::Server(code) if matches!(code.as_str(), "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY"))
    }

    /// The key holds a list, a hash or the like: no record of ours.
    pub(super) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Server(code) if code == "WRONGTYPE")
    }

    /// The reason why there is no connection, whatever it was, in place of an answer to a call that was never sent.
    pub(super) fn as_outage(&self) -> Self {
        Self::Io(format!("no connection to Redis: {self}"))
    }

    /// The connection is of no more use.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Unauthorised | Self::Nonsense)
    }
}

impl From<RedisError> for Cause {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            _ if error.is_timeout() => Self::TimedOut,
            ErrorKind::AuthenticationFailed => Self::Unauthorised,
            // The operating system's words: no key and no credential has come near them.
            ErrorKind::Io => Self::Io(error.to_string()),
            ErrorKind::ClusterConnectionNotFound => Self::Io("no connection to a node of the cluster".to_owned()),
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
                Self::Io("the sentinels know no master".to_owned())
            }
            // Of a transaction too.
            _ => match error.into_server_errors().as_deref().and_then(|errors| errors.first()) {
                Some((_, error)) if matches!(error.code(), "NOAUTH" | "WRONGPASS") => Self::Unauthorised,
                Some((_, error)) => Self::Server(error.code().to_owned()),
                None => Self::Nonsense,
            },
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("Redis did not answer in time"),
            Self::Io(what) => f.write_str(what),
            Self::Unauthorised => f.write_str("Redis wants another user name or password"),
            Self::Server(code) => write!(f, "Redis answered {code}"),
            Self::Nonsense => f.write_str("Redis answered something unexpected"),
        }
    }
}

impl std::error::Error for Cause {}

impl From<Cause> for StoreError {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::TimedOut => Self::Timeout,
            Cause::Io(_) | Cause::Unauthorised => Self::Unreachable(Box::new(cause)),
            _ if cause.is_full() => Self::Full("raise maxmemory of Redis, shorten the ttl, or spread over a cluster"),
            Cause::Server(_) | Cause::Nonsense => Self::Refused(Box::new(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_the_server_quotes_gets_through() {
        let quoted = "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 's3cret'";
        let error = redis::make_extension_error("ERR".to_owned(), Some(quoted.to_owned()));
        assert!(error.to_string().contains("s3cret"), "the reason for this type");
        let cause = Cause::from(error);
        assert_eq!(format!("{cause} {cause:?}"), "Redis answered ERR Server(\"ERR\")");
    }

    #[test]
    fn a_refusal_to_write_is_told_from_a_loss() {
        let oom = Cause::Server("OOM".to_owned());
        assert!(oom.forbids_writing() && !oom.is_loss());
        assert!(matches!(StoreError::from(oom), StoreError::Full(_)));
        assert!(matches!(StoreError::from(Cause::Server("MISCONF".to_owned())), StoreError::Refused(_)));
        assert!(matches!(StoreError::from(Cause::Io("reset".to_owned())), StoreError::Unreachable(_)));
    }
}
