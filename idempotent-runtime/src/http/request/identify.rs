//! Makes the name in the store and the fingerprint of a request with a key. Pure.

use super::{
    KeyedRequest, RequestRoute, Scope,
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
    /// Whether a scope names the caller. If not, the credentials are compared.
    pub(crate) scoped: bool,
}

/// Makes the name of a request and its fingerprint.
pub(crate) fn identify(
    settings: &Settings,
    policy: &Policy,
    keyed: Box<KeyedRequest>,
    scope: Option<&Scope>,
) -> Identity {
    let KeyedRequest { key, method, route, compared, body, value, trace: _ } = *keyed;
    // Where nothing else is compared, each path has its own keys.
    let values = |values| if policy.fingerprint == FingerprintOf::KeyAlone { values } else { None };
    let (route, compared) = match (policy.operation, &route) {
        (Some(name), RequestRoute::Matched(_, found)) => {
            (Route::Operation(name, values(found.as_ref())), compared.of_operation())
        }
        (Some(name), RequestRoute::Path(_)) => (Route::Operation(name, None), compared),
        (None, RequestRoute::Matched(pattern, found)) => match values(found.as_ref()) {
            Some(values) => (Route::Filled(pattern.as_str(), values), compared),
            None => (Route::Matched(pattern.as_str()), compared),
        },
        (None, RequestRoute::Path(path)) => (Route::Path(path), compared),
    };
    let namespace = settings.namespace.as_str();
    let name =
        Name { namespace, method: method.as_str(), route, scope: scope.map(Scope::as_str), key: key.as_str() }.join();
    let scoped = scope.is_some_and(Scope::names_somebody);
    let fingerprint = match policy.fingerprint {
        FingerprintOf::Request => compared.fingerprint(&body, &name, !scoped),
        FingerprintOf::Value => compared.fingerprint_of(value.as_ref(), &name, !scoped),
        // The handler has a scope, so it has several callers. If it names nobody, the credentials tell them apart.
        FingerprintOf::KeyAlone => compared.fingerprint_of(None, &name, scope.is_some() && !scoped),
    };
    let (name, fingerprint) = (stored_name(settings, name), stored_fingerprint(settings, fingerprint));
    Identity { key, name, fingerprint, scoped }
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
    let route = Route::Operation(operation, None);
    let name = Name { namespace: &settings.namespace, method: "", route, scope, key }.join();
    let fingerprint = ComparedParts::of_operation_alone().fingerprint_of(value, &name, false);
    (stored_name(settings, name), stored_fingerprint(settings, fingerprint))
}
