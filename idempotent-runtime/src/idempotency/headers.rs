//! The settings of the builder about headers: which carry the key, which are compared in a retry, and which are not
//! replayed.

use std::fmt;

use axum::http::HeaderName;

use super::IdempotencyBuilder;

impl IdempotencyBuilder {
    /// The header that carries the key. Default: `Idempotency-Key`.
    ///
    /// # Panics
    /// If `name` is not a valid header name. This happens at start-up.
    pub fn header(mut self, name: &str) -> Self {
        self.settings.header = header_name("header", name);
        self
    }

    /// Other headers that may carry the key, such as an older name. Default: none.
    ///
    /// A key is the same key in each of them. A request with two different keys gets 400 `key-invalid`.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).header_aliases(["X-Idempotency-Key"]).build();
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid header name. This happens at start-up.
    pub fn header_aliases<N>(mut self, names: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.header_aliases = header_names("header_aliases", names);
        self
    }

    /// The headers that tell one caller from another, for handlers without a `scope`. Default: `Authorization`.
    ///
    /// Their values are part of the fingerprint, so that no caller gets another caller's response. Name every header
    /// that identifies a caller or a tenant, such as the header of an API key. The whole `Cookie` header counts if it
    /// is named; [`credential_cookie`](Self::credential_cookie) selects one cookie.
    ///
    /// If a deploy changes this setting, retries of earlier requests get 422 `key-reused`.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).credentials(["Authorization", "X-Tenant"]).build();
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid header name. This happens at start-up.
    pub fn credentials<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.credentials = header_names("credentials", headers);
        self
    }

    /// A cookie that tells one caller from another, in addition to the [`credentials`](Self::credentials). Default:
    /// none.
    ///
    /// Other cookies are then not compared and may change between tries. Call it again for a second cookie.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).credential_cookie("session").build();
    /// ```
    pub fn credential_cookie(mut self, name: impl Into<String>) -> Self {
        self.settings.credential_cookies.push(name.into());
        self
    }

    /// More request headers that must be the same in a retry, such as `Accept` or the header of an API version.
    /// Default: none. The order of cookies does not count.
    ///
    /// Query, body, preconditions (`If-Match` and the like) and the headers that say what the body is (`Content-Type`,
    /// `Content-Range` and the like) are always compared. The guide [`contract`](https://docs.rs/idempotent-runtime/latest/idempotent_runtime/guide/contract/index.html) lists them.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).fingerprint_headers(["Accept", "X-Api-Version"]).build();
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid header name. This happens at start-up.
    pub fn fingerprint_headers<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.fingerprint_headers = header_names("fingerprint_headers", headers);
        self
    }

    /// More response headers that belong to one exchange and are not replayed. Default: none, in addition to those that
    /// the guide [`contract`](https://docs.rs/idempotent-runtime/latest/idempotent_runtime/guide/contract/index.html) lists.
    ///
    /// ```
    /// # use idempotent_runtime::{Idempotency, MemoryStore};
    /// let idempotency = Idempotency::builder(MemoryStore::new()).never_replay(["X-Served-By"]).build();
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid header name. This happens at start-up.
    pub fn never_replay<N>(mut self, headers: impl IntoIterator<Item = N>) -> Self
    where
        N: TryInto<HeaderName, Error: fmt::Debug>,
    {
        self.settings.never_replay = header_names("never_replay", headers);
        self
    }
}

fn header_names<N>(setting: &str, names: impl IntoIterator<Item = N>) -> Vec<HeaderName>
where
    N: TryInto<HeaderName, Error: fmt::Debug>,
{
    names.into_iter().map(|name| header_name(setting, name)).collect()
}

fn header_name<N>(setting: &str, name: N) -> HeaderName
where
    N: TryInto<HeaderName, Error: fmt::Debug>,
{
    #[allow(clippy::panic)] // at start-up, as documented
    name.try_into()
        .unwrap_or_else(|error| panic!("`{setting}` was given a text that is not a valid header name: {error:?}"))
}
