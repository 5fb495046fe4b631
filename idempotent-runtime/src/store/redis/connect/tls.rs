//! The certificates of an encrypted connection. Without the feature `redis-tls` there are none.

use redis::{Client, ConnectionInfo, RedisResult};

/// Certificates to use instead of the operating system's.
#[derive(Clone, Default)]
pub(in super::super) struct Tls {
    #[cfg(feature = "redis-tls")]
    certificates: Option<redis::TlsCertificates>,
}

impl Tls {
    #[cfg_attr(not(feature = "redis-tls"), expect(clippy::unused_self, reason = "there are no certificates to use"))]
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        #[cfg(feature = "redis-tls")]
        {
            choose_cryptography();
            if let Some(certificates) = self.certificates() {
                return Client::build_with_tls(info, certificates);
            }
        }
        Client::open(info)
    }
}

#[cfg(feature = "redis-tls")]
impl Tls {
    pub(in super::super) fn trust(&mut self, authorities: Vec<u8>) {
        self.certificates_mut().root_cert = Some(authorities);
    }

    pub(in super::super) fn identify(&mut self, client_cert: Vec<u8>, client_key: Vec<u8>) {
        self.certificates_mut().client_tls = Some(redis::ClientTlsConfig { client_cert, client_key });
    }

    pub(super) fn certificates(&self) -> Option<redis::TlsCertificates> {
        self.certificates.clone()
    }

    fn certificates_mut(&mut self) -> &mut redis::TlsCertificates {
        self.certificates.get_or_insert(redis::TlsCertificates { client_tls: None, root_cert: None })
    }
}

/// If two features of the whole program offer cryptography and neither was chosen, rustls panics. So one is chosen
/// here, unless the program has chosen before.
#[cfg(feature = "redis-tls")]
pub(super) fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Prints nothing, because it contains a private key.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}
