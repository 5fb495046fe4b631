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
    /// As [`Success`](Self::Success), and each 4xx that is the same for every try of the same request.
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

/// The policy of one handler. An option that the attribute leaves out has the default that is written here.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) handler: &'static str,
    pub(crate) ttl: Duration,
    pub(crate) lease: Duration,
    pub(crate) wait: Option<Duration>,
    pub(crate) required: bool,
    pub(crate) replay: ReplayPolicy,
    pub(crate) takeover: Takeover,
    pub(crate) key: KeyFormat,
    pub(crate) header: Option<&'static str>,
    pub(crate) key_from: KeyFrom,
    pub(crate) fingerprint: FingerprintOf,
}

/// The longest ttl: 100 years of 365 days. Every store can calculate with it.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Policy {
    /// The policy of `#[idempotent]` without options.
    #[must_use]
    pub const fn new(handler: &'static str) -> Self {
        Self {
            handler,
            ttl: Duration::from_secs(24 * 60 * 60),
            lease: Duration::from_secs(30),
            wait: None,
            required: true,
            replay: ReplayPolicy::Final,
            takeover: Takeover::Rerun,
            key: KeyFormat::Any,
            header: None,
            key_from: KeyFrom::Header,
            fingerprint: FingerprintOf::Request,
        }
    }

    /// How long a finished response is replayed, counted from completion.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long a claim stays valid after its last heartbeat.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a duplicate waits for the first request.
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
        self.takeover = takeover;
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
        assert!(
            self.lease.as_millis() >= 100,
            "`lease` must be at least 100ms, because it is renewed after a third of its time"
        );
        assert!(self.lease.as_secs() <= 24 * 60 * 60, "`lease` must not be longer than a day; heartbeats renew it");
        assert!(self.ttl.as_millis() >= self.lease.as_millis(), "`ttl` must not be shorter than `lease`");
        assert!(self.ttl.as_millis() <= LONGEST.as_millis(), "`ttl` must not be longer than 100 years");
        if let Some(wait) = self.wait {
            assert!(!wait.is_zero(), "`wait` must not be zero; leave it out to answer duplicates at once");
            assert!(wait.as_millis() <= self.ttl.as_millis(), "`wait` must not be longer than `ttl`");
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_attribute() {
        let policy = Policy::new("create").checked();
        assert_eq!(policy.ttl, Duration::from_secs(86_400));
        assert_eq!(policy.lease, Duration::from_secs(30));
        assert!(policy.required && policy.wait.is_none());
        assert_eq!((policy.replay, policy.takeover), (ReplayPolicy::Final, Takeover::Rerun));
    }

    #[test]
    #[should_panic(expected = "`ttl` must not be shorter than `lease`")]
    fn a_ttl_below_the_lease_is_refused() {
        let _ = Policy::new("create").ttl(Duration::from_secs(1)).checked();
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
    pub(crate) const DEFAULT: Self = Self {
        ttl: Duration::from_secs(24 * 60 * 60),
        lease: Duration::from_secs(30),
        wait: Duration::ZERO,
        takeover: Takeover::Rerun,
    };
    pub(crate) fn in_range(self) -> Self {
        self
    }
}
