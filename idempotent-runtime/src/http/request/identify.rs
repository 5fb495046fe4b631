//! Makes the name in the store and the fingerprint of a request with a key. Pure.

use axum::extract::MatchedPath;

use super::{
    KeyedRequest, Scope,
    digest::ValueDigest,
    fingerprint::ComparedParts,
    identity::{Name, Route},
    key::Key,
};
use crate::{
    config::{
        policy::{FingerprintOf, Policy},
        settings::Settings,
    },
    store::{Fingerprint, StoreKey},
};

/// The identity of a request. It is made once, before the handler runs, so nothing that the handler does can change it.
pub(crate) struct Identity {
    pub(crate) key: Key,
    pub(crate) name: StoreKey,
    pub(crate) fingerprint: Fingerprint,
    /// Whether the policy has a scope. If not, the credentials are part of the fingerprint.
    pub(crate) scoped: bool,
}

/// Makes the name of a request and its fingerprint.
pub(crate) fn identify(settings: &Settings, policy: &Policy, keyed: KeyedRequest, scope: Option<&Scope>) -> Identity {
    let KeyedRequest { key, method, matched, path, asked, body, value } = keyed;
    let pattern = matched.as_ref().map(MatchedPath::as_str);
    let (route, asked) = match (policy.operation, pattern) {
        (Some(operation), _) => (Route::Operation(operation), asked.of_operation(pattern)),
        (None, Some(pattern)) => (Route::Matched(pattern), asked),
        (None, None) => (Route::Path(path.as_deref().unwrap_or_default()), asked),
    };
    let (namespace, method, scope) = (settings.namespace.as_str(), method.as_str(), scope.map(Scope::as_str));
    let name = Name { namespace, method, route, scope, key: key.as_str() }.join();
    let fingerprint = match policy.fingerprint {
        FingerprintOf::Request => asked.fingerprint(&body, &name, scope.is_some()),
        FingerprintOf::Value => asked.fingerprint_of(value.as_ref(), &name, scope.is_some()),
        FingerprintOf::KeyAlone => asked.fingerprint_of(None, &name, scope.is_some()),
    };
    let (name, fingerprint) = (stored_name(settings, name), stored_fingerprint(settings, fingerprint));
    Identity { key, name, fingerprint, scoped: scope.is_some() }
}

/// The name as the store gets it: hashed, if the service has set a secret for that.
pub(crate) fn stored_name(settings: &Settings, name: StoreKey) -> StoreKey {
    #[cfg(feature = "encryption")]
    if let Some(secret) = &settings.name_secret {
        return StoreKey::new(secret.name(&settings.namespace, name.as_str()));
    }
    let _ = settings;
    name
}

/// The fingerprint as the store gets it.
fn stored_fingerprint(settings: &Settings, fingerprint: Fingerprint) -> Fingerprint {
    #[cfg(feature = "encryption")]
    if let Some(secret) = &settings.name_secret {
        return Fingerprint::from_bytes(secret.fingerprint(fingerprint.as_bytes()));
    }
    let _ = settings;
    fingerprint
}

/// The name of an operation that is no request, and its fingerprint.
pub(crate) fn of_operation(
    settings: &Settings,
    operation: &str,
    scope: Option<&str>,
    key: &str,
    value: Option<&ValueDigest>,
) -> (StoreKey, Fingerprint) {
    let route = Route::Operation(operation);
    let name = Name { namespace: &settings.namespace, method: "", route, scope, key }.join();
    let fingerprint = ComparedParts::of_operation_alone().fingerprint_of(value, &name, false);
    (stored_name(settings, name), stored_fingerprint(settings, fingerprint))
}
