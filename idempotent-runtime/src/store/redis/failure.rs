//! Why a call to Redis failed, as text that is safe to log.

use redis::{ErrorKind, RedisError, ServerError};

use crate::store::StoreError;

/// A failure without its details. Servers quote what they were sent (`ERR unknown command 'HELLO', with args beginning
/// with: '3' 'AUTH' 'default' 'the password'`), so only the code of a server's error is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RedisFailure {
    #[error("Redis did not answer in time")]
    TimedOut,
    /// There is no connection, or it broke.
    #[error("{0}")]
    Io(String),
    #[error("Redis wants another user name or password")]
    Unauthorised,
    #[error("the Redis user may not run a command that the store needs")]
    Forbidden,
    /// The user may run the command, but not on this key.
    #[error("the Redis user may not use keys of this namespace")]
    ForbiddenKey,
    /// The server's error code, such as `OOM`.
    #[error("Redis answered {0}")]
    Server(String),
    /// Not an answer of Redis. Something else may be listening at the address.
    #[error("Redis answered something unexpected")]
    Unexpected,
    /// The server must not keep claims. The text says why, and what to change.
    #[error("{0}")]
    Unfit(String),
    /// There is no connection, because the last attempt to open one failed for this reason. Nothing was sent.
    #[error("no connection to Redis: {0}")]
    Down(Box<RedisFailure>),
}

impl RedisFailure {
    /// What is wrong with a URL. Only the parser's fixed text is kept, and nothing of the URL.
    pub(super) fn of_url(error: &RedisError) -> Self {
        let words = error.to_string();
        Self::Io(words.split(" - ").next().unwrap_or_default().to_owned())
    }

    /// Whether the server answered with this code.
    pub(super) fn is(&self, code: &str) -> bool {
        matches!(self, Self::Server(answered) if answered == code)
    }

    /// The server accepts no writes, but can be read.
    pub(super) fn forbids_writing(&self) -> bool {
        ["OOM", "MISCONF", "NOREPLICAS", "READONLY"].iter().any(|code| self.is(code))
    }

    /// Whether the connection can no longer be used.
    pub(super) fn breaks_connection(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Unauthorised | Self::Unexpected)
    }

    /// Whether a person has to change something. Waiting does not help then, so it does not count as an outage.
    fn needs_a_person(&self) -> bool {
        match self {
            Self::Unauthorised | Self::Forbidden | Self::ForbiddenKey | Self::Unfit(_) => true,
            Self::Down(cause) => cause.needs_a_person(),
            Self::TimedOut | Self::Io(_) | Self::Server(_) | Self::Unexpected => false,
        }
    }
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            _ if error.is_timeout() => Self::TimedOut,
            ErrorKind::AuthenticationFailed => Self::Unauthorised,
            // The operating system's text. It contains no key and no credential.
            ErrorKind::Io => Self::Io(error.to_string()),
            ErrorKind::ClusterConnectionNotFound => Self::Io("no connection to a node of the cluster".to_owned()),
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
                Self::Io("the sentinels know no master".to_owned())
            }
            // Errors inside a transaction are included.
            _ => match error.into_server_errors().as_deref().and_then(|errors| errors.first()) {
                Some((_, error)) => Self::of_server(error),
                None => Self::Unexpected,
            },
        }
    }
}

impl RedisFailure {
    fn of_server(error: &ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        match error.code() {
            "NOAUTH" | "WRONGPASS" => Self::Unauthorised,
            "NOPERM" => Self::refused(details),
            // How servers before and after 7.2 refuse a command inside a script.
            "ERR" if details.starts_with("The user executing the script can't") => Self::refused(details),
            "ERR" if details.starts_with("ACL failure in script") => Self::refused(details),
            code => Self::Server(code.to_owned()),
        }
    }

    /// Tells a refused command ("to run the 'set' command", "can't run this command") from a refused key ("to access").
    fn refused(details: &str) -> Self {
        if details.contains("run th") || !details.contains("access") { Self::Forbidden } else { Self::ForbiddenKey }
    }
}

impl From<RedisFailure> for StoreError {
    fn from(cause: RedisFailure) -> Self {
        match cause {
            _ if cause.needs_a_person() => Self::Forbidden(Box::new(cause)),
            RedisFailure::TimedOut => Self::Timeout,
            RedisFailure::Down(_) => Self::Down(Box::new(cause)),
            RedisFailure::Io(_) => Self::Unreachable(Box::new(cause)),
            _ if cause.is("OOM") => Self::Full("raise maxmemory of Redis, shorten the ttl, or spread over a cluster"),
            _ => Self::Refused(Box::new(cause)),
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
        let cause = RedisFailure::from(error);
        assert_eq!(format!("{cause} {cause:?}"), "Redis answered ERR Server(\"ERR\")");
    }

    #[test]
    fn a_refusal_to_write_is_told_from_a_loss() {
        let oom = RedisFailure::Server("OOM".to_owned());
        assert!(oom.forbids_writing() && !oom.breaks_connection());
        assert!(matches!(StoreError::from(oom), StoreError::Full(_)));
        assert!(matches!(StoreError::from(RedisFailure::Server("MISCONF".to_owned())), StoreError::Refused(_)));
        assert!(matches!(StoreError::from(RedisFailure::Io("reset".to_owned())), StoreError::Unreachable(_)));
    }

    #[test]
    fn a_missing_permission_and_a_wrong_password_are_no_outage() {
        let in_script =
            "The user executing the script can't run this command or subcommand script: 1, on @user_script:1.";
        for (code, details) in [("NOPERM", "User a has no permissions to run the 'set' command"), ("ERR", in_script)] {
            let cause = RedisFailure::from(redis::make_extension_error(code.to_owned(), Some(details.to_owned())));
            assert_eq!(cause, RedisFailure::Forbidden, "{details}");
            assert!(matches!(StoreError::from(cause), StoreError::Forbidden(_)));
        }
        let down = |cause| StoreError::from(RedisFailure::Down(Box::new(cause)));
        assert!(matches!(down(RedisFailure::Unauthorised), StoreError::Forbidden(_)));
        assert!(matches!(down(RedisFailure::TimedOut), StoreError::Down(_)));
    }
}
