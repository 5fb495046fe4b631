//! The settings of a service, as the builder makes them.

use std::{future::Future, pin::Pin, time::Duration};

use axum::{
    http::HeaderName,
    response::{IntoResponse, Response},
};

use super::policy::Terms;
use crate::problem::Problem;

/// A running handler, without the types of its last argument and its response.
pub type AttemptFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Carries the context of a request into its attempt.
pub(crate) type WrapAttempt = Box<dyn Fn(AttemptFuture) -> AttemptFuture + Send + Sync>;

/// All settings of the builder.
pub(crate) struct Settings {
    pub(crate) disabled: bool,
    pub(crate) namespace: String,
    /// Hashes the names in the store.
    #[cfg(feature = "encryption")]
    pub(crate) name_secret: Option<super::name_secret::NameSecret>,
    pub(crate) header: HeaderName,
    pub(crate) header_aliases: Vec<HeaderName>,
    pub(crate) credentials: Vec<HeaderName>,
    /// The cookies that tell callers apart, instead of the whole `Cookie` header.
    pub(crate) credential_cookies: Vec<String>,
    pub(crate) fingerprint_headers: Vec<HeaderName>,
    /// The response headers that are not replayed, in addition to those that never are.
    pub(crate) never_replay: Vec<HeaderName>,
    /// What holds for a handler whose attribute does not say otherwise.
    pub(crate) terms: Terms,
    pub(crate) max_request: usize,
    pub(crate) max_response: usize,
    pub(crate) response_patience: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) max_attempt: Duration,
    pub(crate) outage: Outage,
    /// Whether the journal is asked about a key before each first attempt.
    pub(crate) look_for_commits_first: bool,
    pub(crate) wrap_attempt: Option<WrapAttempt>,
    pub(crate) problem_base: &'static str,
    pub(crate) on_problem: Option<Box<dyn Fn(Problem) -> Response + Send + Sync>>,
}

/// What happens to a request while the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// The client gets 503 `store-unavailable`, and the handler does not run. So no retry after the outage can run it
    /// twice.
    #[default]
    Refuse,
    /// The handler runs without a claim, if nothing is known of the key. A retry during the outage runs it again.
    RunUnprotected,
}

impl Settings {
    /// The response for a problem: the service's own, with required headers added, or `application/problem+json`.
    pub(crate) fn answer(&self, problem: Problem) -> Response {
        let problem = problem.based_on(self.problem_base);
        match &self.on_problem {
            Some(answer) => problem.complete(answer(problem.clone())),
            None => problem.into_response(),
        }
    }
}
