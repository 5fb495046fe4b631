//! User name and password that may change while the service runs.

use std::{error::Error, fmt, sync::Arc};

use redis::RedisConnectionInfo;

use super::failure::RedisFailure;
use crate::store::BoxFuture;

/// A user name and a password for Redis, as a
/// [credentials provider](super::RedisStoreBuilder::credentials_provider) returns them. `Debug` shows neither.
#[derive(Clone)]
pub struct RedisCredentials {
    pub(super) username: Option<String>,
    pub(super) password: String,
}

impl RedisCredentials {
    /// The credentials of a named user.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: password.into() }
    }

    /// The password of Redis' default user.
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }

    /// Replaces the credentials of a URL by these.
    pub(super) fn apply(&self, settings: RedisConnectionInfo) -> RedisConnectionInfo {
        let settings = settings.set_password(self.password.as_str());
        match &self.username {
            Some(username) => settings.set_username(username.as_str()),
            None => settings,
        }
    }
}

impl fmt::Debug for RedisCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisCredentials(..)")
    }
}

type Answer = Result<RedisCredentials, Box<dyn Error + Send + Sync>>;

type Provide = dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync;

/// The user's credentials provider, which is asked before every connection. Without one, the credentials of the URL are
/// used.
#[derive(Clone, Default)]
pub(super) struct Provider(Option<Arc<Provide>>);

impl Provider {
    pub(super) fn new<F, E>(provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<RedisCredentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Some(Arc::new(move || {
            let credentials = provide();
            Box::pin(async move { credentials.await.map_err(Into::into) })
        })))
    }

    /// The current credentials. `None` for those of the URL.
    ///
    /// The text of the provider's error may contain a secret, so it is not kept.
    pub(super) async fn current(&self) -> Result<Option<RedisCredentials>, RedisFailure> {
        let Some(provide) = &self.0 else { return Ok(None) };
        match provide().await {
            Ok(credentials) => Ok(Some(credentials)),
            Err(_) => Err(RedisFailure::Io("the credentials provider returned an error".to_owned())),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Provider(..)" } else { "None" })
    }
}
