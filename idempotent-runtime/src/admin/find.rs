//! Finds the requests that a key may belong to, and what the store knows of each.

use axum::{
    body::to_bytes,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use super::{
    inspect::{Inspection, RequestName},
    query::AdminQuery,
};
use crate::{idempotency::Idempotency, store::StoreError};

/// How many bytes of a response's body are shown.
pub(super) const MAX_BODY: usize = 64 << 10;

/// One request, and what the store knows of it.
pub(super) struct Found<'a> {
    pub(super) method: Method,
    pub(super) route: String,
    /// The digest of the key, as it is in logs and spans.
    pub(super) digest: String,
    pub(super) key: &'a str,
    pub(super) scope: Option<&'a str>,
    pub(super) state: Inspection,
}

/// A stored response, as it is shown.
pub(super) struct Stored {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    /// Bytes that are not UTF-8 are replaced.
    pub(super) body: String,
    pub(super) truncated: bool,
}

impl Found<'_> {
    pub(super) fn name(&self) -> RequestName<'_> {
        // A route begins with a slash, and the name of an operation does not.
        let name = if self.route.starts_with('/') {
            RequestName::new(self.method.clone(), &self.route, self.key)
        } else {
            RequestName::of_operation(&self.route, self.key)
        };
        let name = name.exact();
        match self.scope {
            Some(scope) => name.scope(scope),
            None => name,
        }
    }

    /// As a script gets it, without the key.
    pub(super) fn to_json(&self) -> Value {
        let (state, more) = match &self.state {
            Inspection::Absent => ("absent", json!({})),
            Inspection::Running { left } => {
                ("running", json!({ "lease_left_ms": u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }))
            }
            Inspection::Died => ("died", json!({})),
            Inspection::Finished { status, bytes } => {
                ("finished", json!({ "status": status.as_u16(), "bytes": bytes }))
            }
            Inspection::FinishedWithoutBody { bytes } => ("finished-without-body", json!({ "bytes": bytes })),
            Inspection::Unreadable => ("unreadable", json!({})),
        };
        let (method, route, digest) = (self.method.as_str(), &self.route, &self.digest);
        let mut shown = json!({ "method": method, "route": route, "digest": digest, "state": state });
        if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
            shown.extend(more);
        }
        shown
    }
}

/// All requests that the key may belong to. If the route is given, that is one, even if nothing is known of it.
/// Otherwise, those that the store knows.
///
/// # Errors
/// If the store does not answer within the store timeout.
pub(super) async fn all<'a>(
    idempotency: &Idempotency,
    named: &[(Method, String)],
    query: &'a AdminQuery,
) -> Result<Vec<Found<'a>>, StoreError> {
    let mut found = Vec::new();
    let handlers = query.route.as_ref().map_or(named, std::slice::from_ref);
    for (method, route) in handlers {
        let (method, route, scope) = (method.clone(), route.clone(), query.scope.as_deref());
        let (key, digest) = (query.key.as_str(), String::new());
        let mut one = Found { method, route, digest, key, scope, state: Inspection::Absent };
        one.digest = idempotency.digest(&one.name());
        one.state = idempotency.inspect(&one.name()).await?;
        if query.route.is_some() || !matches!(one.state, Inspection::Absent) {
            found.push(one);
        }
    }
    Ok(found)
}

/// The stored response of a request. `None` if there is none.
///
/// # Errors
/// If the store does not answer within the store timeout.
pub(super) async fn response(idempotency: &Idempotency, found: &Found<'_>) -> Result<Option<Stored>, StoreError> {
    let Some(response) = idempotency.stored_response(&found.name()).await? else { return Ok(None) };
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    // The body is in memory already, and is not larger than a record may be.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let shown = body.get(..MAX_BODY).unwrap_or(&body);
    Ok(Some(Stored {
        status: parts.status,
        headers: headers.collect(),
        body: String::from_utf8_lossy(shown).into_owned(),
        truncated: shown.len() < body.len(),
    }))
}
