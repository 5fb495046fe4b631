//! Why there is no answer.

use std::{io, time::Duration};

/// Why an exchange has no answer. The messages continue "it" or "the service".
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("cannot be reached at {address} ({source})")]
    Unreachable { address: String, source: io::Error },
    #[error("does not accept a TLS connection at {address} ({source}); for a private authority give --ca FILE")]
    Tls { address: String, source: io::Error },
    #[error("closed the connection without a whole response")]
    Closed,
    #[error("did not finish its response within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    #[error("sent a response that is longer than {} KiB or has no end", .0 / 1024)]
    TooLong(usize),
    #[error("does not speak HTTP/1.1 ({0})")]
    NotHttp(String),
}

impl NoAnswer {
    /// Whether nobody listens there.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Tls { .. })
    }
}
