//! A request that can be sent again exactly as it was, and what came back.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use reqwest::{Client, redirect::Policy};
use tokio::task::JoinHandle;

use super::PATIENCE;

/// Each call has its own connection, so that the client never replaces a broken one without the test noticing.
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let client = Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE);
    client.build().unwrap()
});

/// A request. Sending it twice sends the same request twice.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(super) fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        self.header("idempotency-key", key)
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(&self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// Sends it over a connection that may break.
    pub(crate) async fn try_send(&self) -> reqwest::Result<Answer> {
        let request = CLIENT.request(self.method.clone(), &self.url).headers(self.headers.clone());
        let response = request.body(self.body.clone()).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    /// Sends it in the background.
    pub(crate) fn start(&self) -> JoinHandle<Answer> {
        let call = self.clone();
        tokio::spawn(async move { call.send().await })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// All lines of a header.
    pub(crate) fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }

    /// The value of a header that is there once or not at all.
    pub(crate) fn line(&self, name: &str) -> Option<&str> {
        let lines = self.lines(name);
        assert!(lines.len() < 2, "{name} is repeated");
        lines.first().map(|line| std::str::from_utf8(line).unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.line("idempotent-replayed") == Some("true")
    }

    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.line("retry-after").map(|seconds| seconds.parse().unwrap())
    }

    /// The members of an `application/problem+json` answer, after a check that it is one.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.line("content-type"), Some("application/problem+json"), "{self:?}");
        let members: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(members["status"], self.status, "{members}");
        members
    }

    pub(crate) fn detail(&self) -> String {
        self.problem()["detail"].as_str().unwrap().to_owned()
    }

    /// Checks that this answer is the handler's, made by the execution of this number.
    #[track_caller]
    pub(crate) fn is_run(&self, number: usize) {
        assert_eq!((self.status, self.text()), (201, number.to_string().as_str()), "{self:?}");
        assert!(!self.is_replayed(), "replayed: {self:?}");
    }

    /// Checks that this answer is that of an earlier execution.
    #[track_caller]
    pub(crate) fn is_replay_of_run(&self, number: usize) {
        assert_eq!((self.status, self.text()), (201, number.to_string().as_str()), "{self:?}");
        assert!(self.is_replayed(), "not replayed: {self:?}");
    }

    /// Checks that this answer is the engine's own, of the given status and kind.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let members = self.problem();
        let kind = members["type"].as_str().unwrap();
        assert!(kind.ends_with(&format!("#{slug}")), "{kind} is not {slug}");
        assert!(members["title"].is_string() && members["detail"].is_string(), "{members}");
        assert!(!self.is_replayed(), "a problem is never a replay");
    }
}
