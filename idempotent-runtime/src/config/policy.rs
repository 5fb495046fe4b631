//! The options of the attribute, as plain data. The expansion builds one [`Policy`] for each handler, at compile time.

use std::time::Duration;

/// Which keys are accepted: the attribute's `key` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// 1 to 255 printable ASCII characters.
    #[default]
    Any,
    /// A UUID of any version; case does not matter.
    Uuid,
    /// A UUID version 7, whose time stamp lets the engine refuse keys that are older than the ttl.
    UuidV7,
    /// A ULID. It has a time stamp as well, and case does not matter.
    Ulid,
}

/// Where the key is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFrom {
    /// A header: the service's, or the one that the attribute's `header` names.
    #[default]
    Header,
    /// The value of the attribute's `key = EXPR`, an expression over the handler's arguments.
    Value,
}

/// What must be the same in a retry: the attribute's `fingerprint` option. Method and path always count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FingerprintOf {
    /// The query, the body, and the headers that the service compares.
    #[default]
    Request,
    /// The value of an expression over the handler's arguments.
    Value,
    /// Nothing else: the key alone identifies the request.
    KeyAlone,
}

/// Which responses are stored and replayed: the attribute's `replay` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayPolicy {
    /// 2xx, and 3xx except 307 and 308, which send the client to another address.
    Success,
    /// As [`Success`](Self::Success), and the 4xx by which a handler has decided about the request.
    #[default]
    Final,
    /// Every response, 5xx included.
    All,
}

/// What happens to a key whose attempt died: the attribute's `takeover` option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Takeover {
    /// The next attempt runs. [`Claim::recovering`](crate::Claim::recovering) is true in it.
    #[default]
    Rerun,
    /// The next attempt does not run. It is answered with 409 `outcome-unknown`.
    Refuse,
}

/// The longest ttl: 100 years of 365 days. Every store can calculate with it.
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The shortest ttl and lease. A lease is renewed after a third of its time.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest lease. It is renewed while the handler runs.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The policy of one handler. An option that the attribute leaves out is `None` if the service may set it, and otherwise
/// has the default that is written here.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) handler: &'static str,
    pub(crate) operation: Option<&'static str>,
    ttl: Option<Duration>,
    lease: Option<Duration>,
    wait: Option<Duration>,
    takeover: Option<Takeover>,
    pub(crate) required: bool,
    pub(crate) replay: ReplayPolicy,
    pub(crate) key: KeyFormat,
    pub(crate) header: Option<&'static str>,
    pub(crate) key_from: KeyFrom,
    pub(crate) fingerprint: FingerprintOf,
}

impl Policy {
    /// The policy of `#[idempotent]` without options.
    #[must_use]
    pub const fn new(handler: &'static str) -> Self {
        Self {
            handler,
            operation: None,
            ttl: None,
            lease: None,
            wait: None,
            takeover: None,
            required: true,
            replay: ReplayPolicy::Final,
            key: KeyFormat::Any,
            header: None,
            key_from: KeyFrom::Header,
            fingerprint: FingerprintOf::Request,
        }
    }

    /// The name that takes the place of method and route in the key's name.
    #[must_use]
    pub const fn operation(mut self, name: &'static str) -> Self {
        self.operation = Some(name);
        self
    }

    /// How long a finished response is replayed, counted from completion.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long a claim stays valid after its last heartbeat.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long a duplicate waits for the first request. Zero: it does not wait.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Whether a request without a key is refused or runs unprotected.
    #[must_use]
    pub const fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Which responses are stored and replayed.
    #[must_use]
    pub const fn replay(mut self, replay: ReplayPolicy) -> Self {
        self.replay = replay;
        self
    }

    /// What happens to a key whose attempt died.
    #[must_use]
    pub const fn takeover(mut self, takeover: Takeover) -> Self {
        self.takeover = Some(takeover);
        self
    }

    /// Which keys are accepted.
    #[must_use]
    pub const fn key(mut self, key: KeyFormat) -> Self {
        self.key = key;
        self
    }

    /// The header that carries the key, in lower case, instead of the service's.
    #[must_use]
    pub const fn header(mut self, name: &'static str) -> Self {
        self.header = Some(name);
        self
    }

    /// Where the key is read from.
    #[must_use]
    pub const fn key_from(mut self, from: KeyFrom) -> Self {
        self.key_from = from;
        self
    }

    /// What must be the same in a retry.
    #[must_use]
    pub const fn fingerprint(mut self, of: FingerprintOf) -> Self {
        self.fingerprint = of;
        self
    }

    /// Checks the durations at compile time. The macro checks durations that are strings; it cannot see the value of a
    /// constant.
    ///
    /// # Panics
    /// If a duration is out of range. The policy is a `static`, so the panic is a compile error that shows the message.
    #[must_use]
    pub const fn checked(self) -> Self {
        if let Some(lease) = self.lease {
            assert!(
                lease.as_millis() >= SHORTEST.as_millis(),
                "`lease` must be at least 100ms, because it is renewed after a third of its time"
            );
            assert!(
                lease.as_millis() <= LONGEST_LEASE.as_millis(),
                "`lease` must not be longer than a day; heartbeats renew it"
            );
        }
        if let Some(ttl) = self.ttl {
            assert!(ttl.as_millis() >= SHORTEST.as_millis(), "`ttl` must be at least 100ms");
            assert!(ttl.as_millis() <= LONGEST_TTL.as_millis(), "`ttl` must not be longer than 100 years");
            if let Some(lease) = self.lease {
                assert!(ttl.as_millis() >= lease.as_millis(), "`ttl` must not be shorter than `lease`");
            }
            if let Some(wait) = self.wait {
                assert!(wait.as_millis() <= ttl.as_millis(), "`wait` must not be longer than `ttl`");
            }
        }
        self
    }

    /// The ttl, if the attribute sets one.
    #[cfg(any(feature = "aide", feature = "utoipa"))]
    pub(crate) fn own_ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// The takeover, if the attribute sets one.
    #[cfg(any(feature = "aide", feature = "utoipa"))]
    pub(crate) fn own_takeover(&self) -> Option<Takeover> {
        self.takeover
    }

    /// What holds for a request to this handler. The attribute goes before the service: if a default of the service does
    /// not fit what the attribute says, the default gives way.
    pub(crate) fn terms(&self, service: &Terms) -> Terms {
        let mut ttl = self.ttl.unwrap_or(service.ttl);
        let mut lease = self.lease.unwrap_or(service.lease);
        if self.lease.is_some() {
            ttl = ttl.max(lease);
        } else {
            lease = lease.min(ttl);
        }
        let wait = self.wait.unwrap_or(service.wait).min(ttl);
        Terms { ttl, lease, wait, takeover: self.takeover.unwrap_or(service.takeover) }
    }
}

/// The options that a service can set for all its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    pub(crate) lease: Duration,
    /// Zero: a duplicate does not wait.
    pub(crate) wait: Duration,
    pub(crate) takeover: Takeover,
}

impl Terms {
    /// What holds if neither the attribute nor the service says anything else.
    pub(crate) const DEFAULT: Self = Self {
        ttl: Duration::from_secs(24 * 60 * 60),
        lease: Duration::from_secs(30),
        wait: Duration::ZERO,
        takeover: Takeover::Rerun,
    };

    /// These terms with durations in the ranges that an attribute's have.
    pub(crate) fn in_range(self) -> Self {
        let ttl = self.ttl.clamp(SHORTEST, LONGEST_TTL);
        let lease = self.lease.clamp(SHORTEST, LONGEST_LEASE).min(ttl);
        Self { ttl, lease, wait: self.wait.min(ttl), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Terms = Terms {
        ttl: Duration::from_secs(3_600),
        lease: Duration::from_secs(20),
        wait: Duration::from_secs(5),
        takeover: Takeover::Refuse,
    };

    #[test]
    fn an_attribute_goes_before_the_service() {
        let (ttl, lease) = (Duration::from_secs(60), Duration::from_secs(2));
        let own = Policy::new("create").ttl(ttl).lease(lease).wait(Duration::ZERO).takeover(Takeover::Rerun);
        let expected = Terms { ttl, lease, wait: Duration::ZERO, takeover: Takeover::Rerun };
        assert_eq!(own.checked().terms(&SERVICE), expected);
    }

    #[test]
    fn a_default_of_the_service_that_does_not_fit_the_attribute_gives_way() {
        let brief = Policy::new("create").ttl(Duration::from_secs(3)).terms(&SERVICE);
        assert_eq!((brief.lease, brief.wait), (Duration::from_secs(3), Duration::from_secs(3)));
        let long = Policy::new("create").lease(Duration::from_secs(7_200)).terms(&SERVICE);
        assert_eq!(long.ttl, Duration::from_secs(7_200));
    }

    #[test]
    fn the_terms_of_a_service_are_brought_into_range() {
        let wild = Terms { ttl: Duration::MAX, lease: Duration::MAX, wait: Duration::MAX, takeover: Takeover::Rerun }
            .in_range();
        assert_eq!((wild.ttl, wild.lease, wild.wait), (LONGEST_TTL, LONGEST_LEASE, LONGEST_TTL));
        let none = Terms { ttl: Duration::ZERO, lease: Duration::ZERO, ..Terms::DEFAULT }.in_range();
        assert_eq!((none.ttl, none.lease, none.wait), (SHORTEST, SHORTEST, Duration::ZERO));
    }

    #[test]
    #[should_panic(expected = "`ttl` must not be shorter than `lease`")]
    fn a_ttl_below_the_lease_is_refused() {
        let _ = Policy::new("create").ttl(Duration::from_secs(1)).lease(Duration::from_secs(2)).checked();
    }
}
