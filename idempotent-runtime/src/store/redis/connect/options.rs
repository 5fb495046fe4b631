//! What every connection is opened with.

use std::time::Duration;

use redis::{Client, ConnectionInfo, RedisResult};

use crate::store::redis::credentials::Provider;

/// The settings of all connections of a store.
#[derive(Clone, Debug)]
pub(in super::super) struct Options {
    pub(in super::super) timeouts: Timeouts,
    /// Asked before every connection to a server that keeps claims.
    pub(in super::super) credentials: Provider,
    /// Certificates to use instead of the operating system's.
    #[cfg(feature = "redis-tls")]
    pub(in super::super) certificates: Certificates,
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Timeouts {
    /// For one call of the store, however many round trips it takes.
    pub(in super::super) response: Duration,
    /// For one connection.
    pub(in super::super) connect: Duration,
}

impl Timeouts {
    /// How long sent data may stay unacknowledged before the operating system closes the connection. By then the calls
    /// on it have timed out.
    pub(super) fn unacknowledged(&self) -> Duration {
        self.response.saturating_mul(4)
    }
}

impl Options {
    #[cfg_attr(not(feature = "redis-tls"), expect(clippy::unused_self, reason = "there are no certificates to use"))]
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        #[cfg(feature = "redis-tls")]
        if let Some(certificates) = self.certificates() {
            return Client::build_with_tls(info, certificates);
        }
        Client::open(info)
    }

    /// The certificates for a connection that is about to be made.
    ///
    /// If two features of the whole program offer cryptography and neither was chosen, rustls panics. So one is chosen
    /// here, unless the program has chosen before.
    #[cfg(feature = "redis-tls")]
    pub(super) fn certificates(&self) -> Option<redis::TlsCertificates> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        self.certificates.0.clone()
    }
}

/// `Debug` prints nothing, because there is a private key among them.
#[cfg(feature = "redis-tls")]
#[derive(Clone, Default)]
pub(in super::super) struct Certificates(Option<redis::TlsCertificates>);

#[cfg(feature = "redis-tls")]
impl Certificates {
    pub(in super::super) fn get_mut(&mut self) -> &mut redis::TlsCertificates {
        self.0.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None })
    }
}

#[cfg(feature = "redis-tls")]
impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates(..)")
    }
}
