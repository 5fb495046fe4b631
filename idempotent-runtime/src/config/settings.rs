//! The settings of a service, as the builder leaves them.

use std::{future::Future, pin::Pin, time::Duration};

use axum::{
    http::HeaderName,
    response::{IntoResponse, Response},
};

use crate::response::problem::Problem;

/// A handler that runs, with its last argument and its return type gone.
pub type AttemptFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// Carries the context of a request into its attempt.
pub(crate) type WrapAttempt = Box<dyn Fn(AttemptFuture) -> AttemptFuture + Send + Sync>;

/// What the builder was told.
pub(crate) struct Settings {
    pub(crate) disabled: bool,
    pub(crate) namespace: String,
    /// Hides keys and scopes in the store.
    #[cfg(feature = "encryption")]
    pub(crate) name_secret: Option<super::name_secret::NameSecret>,
    pub(crate) header: HeaderName,
    pub(crate) header_aliases: Vec<HeaderName>,
    pub(crate) credentials: Vec<HeaderName>,
    /// The cookies that count, instead of the whole `Cookie`.
    pub(crate) credential_cookies: Vec<String>,
    pub(crate) fingerprint_headers: Vec<HeaderName>,
    /// Sorted.
    pub(crate) never_replay: Vec<HeaderName>,
    pub(crate) max_request: usize,
    pub(crate) max_response: usize,
    pub(crate) response_patience: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) max_attempt: Duration,
    pub(crate) outage: Outage,
    pub(crate) wrap_attempt: Option<WrapAttempt>,
    pub(crate) problem_base: &'static str,
    pub(crate) on_problem: Option<Box<dyn Fn(Problem) -> Response + Send + Sync>>,
}

/// What happens to a request while the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// 503 `store-unavailable`; the handler does not run. A retry after the outage cannot run twice.
    #[default]
    Refuse,
    /// The handler runs without a claim, if nothing at all is known of the key. Retries during the outage run again.
    RunUnprotected,
}

impl Settings {
    /// The answer for a problem: the service's own, made complete, or `application/problem+json`.
    pub(crate) fn answer(&self, problem: Problem) -> Response {
        let problem = problem.based_on(self.problem_base);
        match &self.on_problem {
            Some(answer) => problem.complete(answer(problem.clone())),
            None => problem.into_response(),
        }
    }
}
