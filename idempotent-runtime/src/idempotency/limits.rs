//! The settings of the builder about times and limits: how long something is kept, taken and waited for, and how much of
//! it there may be.

use std::time::Duration;

use super::IdempotencyBuilder;
use crate::config::{self, policy::Takeover};

impl IdempotencyBuilder {
    /// How long a finished response is replayed, for handlers whose attribute has no `ttl`. Default: 24 hours.
    ///
    /// The least is 100 milliseconds, the most 100 years; other values are brought into this range. If an attribute sets a
    /// `lease` that is longer than this, its handler has a ttl as long as its lease.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotent_runtime::{Idempotency, MemoryStore, Takeover};
    ///
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .ttl(Duration::from_secs(48 * 60 * 60))
    ///     .lease(Duration::from_secs(10))
    ///     .wait(Duration::from_secs(5))
    ///     .takeover(Takeover::Refuse)
    ///     .build();
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.terms.ttl = ttl;
        self
    }

    /// How long a claim stays valid after its last heartbeat, for handlers whose attribute has no `lease`. Default: 30
    /// seconds.
    ///
    /// The least is 100 milliseconds, the most a day; other values are brought into this range. A lease is never longer
    /// than the handler's ttl.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.terms.lease = lease;
        self
    }

    /// How long a duplicate waits for the first request, for handlers whose attribute has no `wait`. Default: zero, so a
    /// duplicate gets 409 at once.
    ///
    /// A handler that must not wait has `wait = "0s"`.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.settings.terms.wait = wait;
        self
    }

    /// What happens to a key whose attempt died, for handlers whose attribute has no `takeover`. Default:
    /// [`Takeover::Rerun`].
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.settings.terms.takeover = takeover;
        self
    }

    /// The largest request body that can be protected, in bytes. Default: 64 MiB. axum's own limit applies first: 2
    /// MiB, unless [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit) changes it.
    ///
    /// The body is hashed while the handler's last argument reads it, so that a retry can be told from another request.
    /// The part that the argument does not read is read before the handler runs.
    pub fn max_request(mut self, bytes: usize) -> Self {
        self.settings.max_request = bytes;
        self
    }

    /// The largest response that is stored, in bytes of headers and body. Default: 1 MiB.
    ///
    /// A larger response is sent in full, but not stored. A retry gets 409 `not-replayable`.
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.settings.max_response = bytes;
        self
    }

    /// How many bytes of request bodies all protected requests together may hold in memory. Default: 256 MiB. A request
    /// that does not fit gets 503 `too-many-in-flight`.
    ///
    /// A body larger than this cannot be protected, even if [`max_request`](Self::max_request) is larger.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.limits.buffered = bytes;
        self
    }

    /// How long a response of unknown length is read before it is sent. Default: 250 ms.
    ///
    /// A response that takes longer is first stored without its body, and then sent as it comes. A retry meanwhile gets
    /// 409 `not-replayable`, and nothing runs again. When the response has ended within
    /// [`max_response`](Self::max_response) bytes, the whole of it is stored.
    ///
    /// A response whose length is announced is read to its end before it is sent, for at most 30 seconds, or for
    /// `patience` if that is longer. The most is one hour.
    pub fn response_patience(mut self, patience: Duration) -> Self {
        self.settings.response_patience = config::time_limit(patience);
        self
    }

    /// How long a claim or a completion may take, with all its tries. Default: 500 ms.
    ///
    /// If a claim takes longer, the client gets 503. If a completion takes longer, the response is sent first and
    /// stored in the background.
    ///
    /// The most is one hour. A claim never takes longer than the handler's `lease`.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.settings.store_timeout = config::time_limit(timeout);
        self
    }

    /// How long an attempt's lease is renewed. Default: 10 minutes.
    ///
    /// After this time the heartbeats stop and [`Claim::lost`](crate::Claim::lost) resolves, so that a handler that
    /// hangs does not hold its key for ever. The handler itself is not cancelled.
    pub fn max_attempt(mut self, duration: Duration) -> Self {
        self.settings.max_attempt = config::duration(duration);
        self
    }

    /// How many requests with a key may be in flight in protected handlers. Requests that wait, and handlers whose
    /// client hung up, are included. Default: 10,000. One more request gets 503 `too-many-in-flight`.
    ///
    /// A handler whose client hung up no longer counts for the concurrency limits of outer layers. This limit counts
    /// it.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.limits.in_flight = requests;
        self
    }

    /// How many duplicates may wait for one key, by the attribute's `wait`. Default: 1,000. One more is answered at
    /// once with 409 `in-flight`.
    ///
    /// So one slow key with many duplicates does not use up [`max_in_flight`](Self::max_in_flight) for all other keys.
    pub fn max_waiters(mut self, requests: usize) -> Self {
        self.limits.waiters = requests;
        self
    }
}
