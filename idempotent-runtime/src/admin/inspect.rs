//! [`Idempotency::inspect`] and [`Idempotency::forget`]: look up what is known of a request, and forget it.

use std::time::Duration;

use axum::http::{Method, StatusCode};
#[cfg(feature = "admin")]
use axum::response::Response;

use crate::{
    config::settings::Settings,
    http::{
        request::{
            identify::stored_name,
            identity::{Name, Route},
            key::Key,
        },
        response::record::Record,
    },
    idempotency::Idempotency,
    store::{Claims as _, ForgetOutcome, Lookup, StoreError, StoreKey, deadline},
    telemetry::KeyDigest,
};

/// The parts of a request's name in the store, except the service's namespace.
///
/// ```
/// use axum::http::Method;
/// use idempotent_runtime::RequestName;
///
/// let name = RequestName::new(Method::POST, "/payments/{id}/refund", "4f1c…").scope("user-7");
/// ```
#[derive(Clone)]
pub struct RequestName<'a> {
    method: Method,
    route: Route<'a>,
    scope: Option<&'a str>,
    key: &'a str,
    exact: bool,
}

impl<'a> RequestName<'a> {
    /// A request to a route, with its key. `route` is the pattern as the router has it, with the prefixes of nested
    /// routers. For a handler with `fingerprint = "none"`, it is the path, such as `/hooks/stripe` of `/hooks/{provider}`,
    /// as it was sent: with `%20` for a space, and `%2F` for a slash inside the value of `{name}`.
    ///
    /// The key is read like the header of a request: with or without quotes, a UUID or ULID in any case. A text that no
    /// header can have as its key is taken unchanged.
    #[must_use]
    pub fn new(method: Method, route: &'a str, key: &'a str) -> Self {
        Self { method, route: Route::Matched(route), scope: None, key, exact: false }
    }

    /// A request to a handler with `operation = "…"`, with its key. Method and route are not part of its name.
    /// With `fingerprint = "none"`, the values in the path are: `hooks.receive/stripe` for a route such as
    /// `/hooks/{provider}`. A slash inside a value is `%2F` here, also in that of `{*rest}`.
    ///
    /// ```
    /// use idempotent_runtime::RequestName;
    ///
    /// let name = RequestName::of_operation("refunds.create", "4f1c…").scope("user-7");
    /// ```
    #[must_use]
    pub fn of_operation(operation: &'a str, key: &'a str) -> Self {
        Self { method: Method::POST, route: Route::Operation(operation, None), scope: None, key, exact: false }
    }

    /// Takes the key unchanged, with its quotes and outer white space: for a handler with `key = EXPR`, whose value it is,
    /// and for an [operation](Idempotency::operation). A UUID or ULID is one key however it is written, here too.
    ///
    /// ```
    /// # use axum::http::Method;
    /// # use idempotent_runtime::RequestName;
    /// let name = RequestName::new(Method::POST, "/events", "\"evt 1\"").exact();
    /// ```
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// The value of the handler's `scope = …`. Default: none, as for a handler without that option. A blank scope is none.
    #[must_use]
    pub fn scope(mut self, scope: &'a str) -> Self {
        self.scope = Some(scope);
        self
    }

    /// For a request that no route matched (in a fallback): the route is its whole path.
    #[must_use]
    pub fn unmatched(mut self) -> Self {
        if let Route::Matched(path) = self.route {
            self.route = Route::Path(path);
        }
        self
    }

    fn stored_in(&self, settings: &Settings) -> StoreKey {
        let read = if self.exact { Key::from_value(self.key) } else { Key::parse(self.key.as_bytes()) };
        let key = read.as_ref().map_or(self.key, Key::as_str);
        let (namespace, method) = (settings.namespace.as_str(), self.method.as_str());
        stored_name(settings, Name { namespace, method, route: self.route, scope: self.scope, key }.join())
    }
}

/// Prints only the method, because key and scope belong to the client.
impl std::fmt::Debug for RequestName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestName").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What the store knows of a request. It contains neither the body nor the response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspection {
    /// Nothing. The request never came, its response has expired, or its key was freed.
    Absent,
    /// An attempt is running.
    Running {
        /// The rest of its lease, which is renewed while it runs.
        left: Duration,
    },
    /// The last attempt died or panicked. Its effects are unknown, and a retry learns of it.
    Died,
    /// The response is stored, and a retry gets it.
    Finished {
        /// The status of the response.
        status: StatusCode,
        /// The size of the stored record, in bytes.
        bytes: usize,
    },
    /// The request ran, and its response was too large or had no end. A retry gets 409 `not-replayable`.
    FinishedWithoutBody {
        /// The size of the stored record, in bytes.
        bytes: usize,
    },
    /// The record cannot be read or would never expire. A retry gets 500 `record-unreadable`.
    Unreadable,
}

impl Idempotency {
    /// Looks up a request, for support tools. Changes nothing. Takes one round trip.
    ///
    /// ```
    /// # async fn doc(idempotency: idempotent_runtime::Idempotency) -> Result<(), idempotent_runtime::StoreError> {
    /// use axum::http::Method;
    /// use idempotent_runtime::{Inspection, RequestName};
    ///
    /// let name = RequestName::new(Method::POST, "/payments", "4f1c…").scope("user-7");
    /// match idempotency.inspect(&name).await? {
    ///     Inspection::Finished { status, .. } => println!("answered with {status}"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If the store does not answer within the store timeout.
    pub async fn inspect(&self, request: &RequestName<'_>) -> Result<Inspection, StoreError> {
        Ok(match self.look_up(request).await? {
            Lookup::Absent => Inspection::Absent,
            Lookup::Unreadable => Inspection::Unreadable,
            Lookup::Running { left, .. } if left.is_zero() => Inspection::Died,
            Lookup::Running { left, .. } => Inspection::Running { left },
            Lookup::Done { record, .. } => match Record::decode(&record) {
                Ok(Record::Whole(response, _)) => {
                    Inspection::Finished { status: response.status(), bytes: record.len() }
                }
                Ok(Record::WithoutBody { .. }) => Inspection::FinishedWithoutBody { bytes: record.len() },
                Err(_) => Inspection::Unreadable,
            },
        })
    }

    async fn look_up(&self, request: &RequestName<'_>) -> Result<Lookup, StoreError> {
        let key = request.stored_in(self.settings());
        deadline::once(self.settings().store_timeout, self.engine().store.lookup(&key)).await
    }

    /// The digest of the request's key, as it is in logs and spans (`idempotency.digest`): 16 hexadecimal digits. The
    /// digest in a journal's table or in the table of claims begins with them. Nobody can use it as a key.
    ///
    /// ```
    /// # fn doc(idempotency: idempotent_runtime::Idempotency) {
    /// use axum::http::Method;
    /// use idempotent_runtime::RequestName;
    ///
    /// let digest = idempotency.digest(&RequestName::new(Method::POST, "/payments", "4f1c…"));
    /// # }
    /// ```
    #[must_use]
    pub fn digest(&self, request: &RequestName<'_>) -> String {
        KeyDigest(request.stored_in(self.settings()).as_str()).to_string()
    }

    /// The response that a retry gets. `None` if there is none.
    #[cfg(feature = "admin")]
    pub(super) async fn stored_response(&self, request: &RequestName<'_>) -> Result<Option<Response>, StoreError> {
        match self.look_up(request).await? {
            Lookup::Done { record, .. } => match Record::decode(&record) {
                Ok(Record::Whole(response, _)) => Ok(Some(response)),
                Ok(Record::WithoutBody { .. }) | Err(_) => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Forgets a request, so that a retry of it runs again as a first attempt. For support tools.
    ///
    /// Before you call it, find out what the first run did, because the retry will run again. A request with a running
    /// attempt is not forgotten. A response in the journal is still replayed.
    ///
    /// # Errors
    /// If the store does not answer within the store timeout, or cannot forget.
    pub async fn forget(&self, request: &RequestName<'_>) -> Result<ForgetOutcome, StoreError> {
        let key = request.stored_in(self.settings());
        let engine = self.engine();
        let answer = deadline::once(self.settings().store_timeout, engine.store.forget(&key)).await?;
        engine.forgotten(&key);
        tracing::info!(answer = ?answer, idempotency.digest = %KeyDigest(key.as_str()), "an operator has asked to forget a request");
        Ok(answer)
    }
}
