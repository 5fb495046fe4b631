//! From a request with a key to its name in the store and its fingerprint. Pure.

use bytes::Bytes;

use super::{
    CapturedBody, KeyedRequest, Scope,
    identity::{Content, Name, Route},
    key::{Key, KeyError},
};
use crate::{
    config::{policy::Policy, settings::Settings},
    store::{Fingerprint, StoreKey},
};

/// Who a request is. It is decided once: nothing that the handler does to its arguments changes it.
pub(crate) struct Identity {
    pub(crate) key: Key,
    pub(crate) name: StoreKey,
    pub(crate) fingerprint: Fingerprint,
    /// Whether a scope says whose key it is. If not, the credentials count.
    pub(crate) scoped: bool,
}

/// Why a request has no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The body is larger than what may be compared.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body broke off before its end.
    #[error("the body broke off")]
    BodyBroken,
}

/// Names a request and hashes what it asks for.
pub(crate) fn identify(
    settings: &Settings,
    policy: &Policy,
    keyed: &KeyedRequest,
    scope: Option<&Scope>,
) -> Result<Identity, IdentityError> {
    let key = Key::parse(&keyed.key, policy.key)?;
    let body: &Bytes = match &keyed.body {
        CapturedBody::Whole(body) => body,
        CapturedBody::TooLarge => return Err(IdentityError::BodyTooLarge),
        CapturedBody::Broken => return Err(IdentityError::BodyBroken),
    };
    let name = Name {
        namespace: &settings.namespace,
        method: keyed.method.as_str(),
        route: match &keyed.matched {
            Some(matched) => Route::Matched(matched.as_str()),
            None => Route::Path(keyed.uri.path()),
        },
        scope: scope.map(Scope::as_str),
        key: key.as_str(),
    };
    let name = name.join();
    let credentials: Vec<_> = keyed.credentials.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let content = Content {
        name: &name,
        method: keyed.method.as_str(),
        path: keyed.uri.path(),
        query: keyed.uri.query(),
        credentials: scope.is_none().then_some(&credentials),
        body,
    };
    let fingerprint = content.fingerprint();
    Ok(Identity { key, name, fingerprint, scoped: scope.is_some() })
}
