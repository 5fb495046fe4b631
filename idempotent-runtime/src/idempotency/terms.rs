//! The settings of the builder that an attribute can override for its handler.

use std::time::Duration;

use super::IdempotencyBuilder;
use crate::config::policy::Takeover;

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
}
