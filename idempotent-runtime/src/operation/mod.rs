//! Effects outside of HTTP: the consumer of a message, a job, a method, a tool. It is the engine's other user, beside the
//! attribute.

mod outcome;
mod run;
mod value;

use std::{fmt, time::Duration};

use serde::Serialize;

pub use self::outcome::{Outcome, RunError};
use crate::{
    config::policy::{Takeover, Terms},
    http::request::{NotSerializable, ValueDigest},
    idempotency::Idempotency,
};

impl Idempotency {
    /// Begins an operation: any effect that must not happen twice, such as the handling of a message.
    ///
    /// `name` says which effect it is, in the place of a handler's method and route. It is part of the key's name in the
    /// store and of keys derived for other services, and it is the `handler` label of metrics. So keep it when code moves,
    /// and give each effect its own.
    ///
    /// ```
    /// use idempotent_runtime::{Claim, Idempotency, MemoryStore, Outcome};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// let consume = || {
    ///     idempotency.operation("orders.created").key("message-1").run(async |_claim: Claim| Ok::<u32, std::io::Error>(7))
    /// };
    /// assert!(matches!(consume().await?, Outcome::Ran(7)));
    /// assert!(matches!(consume().await?, Outcome::Replayed(7)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn operation(&self, name: &'static str) -> OperationName<'_> {
        OperationName { idempotency: self, name }
    }
}

/// An operation that still needs its key: [`Idempotency::operation`].
#[derive(Clone, Copy, Debug)]
#[must_use = "an operation does nothing until it has a key and runs"]
pub struct OperationName<'a> {
    idempotency: &'a Idempotency,
    name: &'static str,
}

impl<'a> OperationName<'a> {
    /// What is the same for each delivery of one message, and for each try of one job: the producer's own id. An offset or
    /// a delivery's number is not enough where the producer may send a message twice.
    ///
    /// It is read as the value of a handler's `key = EXPR`: it may be of any length, and a UUID or ULID is one key
    /// however it is written. A blank key, and the nil and the max UUID, are errors when the operation runs.
    pub fn key(self, key: impl Into<String>) -> Operation<'a> {
        let Self { idempotency, name } = self;
        Operation {
            idempotency,
            name,
            key: key.into(),
            scope: None,
            fingerprint: Ok(None),
            terms: idempotency.settings().terms,
            redelivered_after: None,
            cancelled_with_caller: false,
        }
    }
}

/// An effect that must not happen twice, with its key: [`Idempotency::operation`].
#[must_use = "an operation does nothing until it runs"]
pub struct Operation<'a> {
    idempotency: &'a Idempotency,
    name: &'static str,
    key: String,
    scope: Option<String>,
    fingerprint: Result<Option<ValueDigest>, NotSerializable>,
    terms: Terms,
    redelivered_after: Option<Duration>,
    cancelled_with_caller: bool,
}

/// Prints nothing of the key.
impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("name", &self.name).field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl Operation<'_> {
    /// Whose key it is: a tenant, an account. Two scopes never share a record. Default: none.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// What must be the same each time: usually the message's content. If the key comes again with another value, the
    /// outcome is [`Outcome::KeyReused`]. Default: the key alone says that it is the same message.
    ///
    /// What serde tells apart is told apart, such as a member that is absent and one that is `None`. The order of a map's
    /// members does not count.
    pub fn fingerprint(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.fingerprint = ValueDigest::new(value).map(Some);
        self
    }

    /// How long the result is kept, counted from the end of the attempt that stored it. Default: the service's, 24 hours
    /// if it sets none. It should be longer than the broker redelivers.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.terms.ttl = ttl;
        self
    }

    /// How long a claim is valid after its last heartbeat. After that another attempt may take the key over. Default: the
    /// service's, 30 seconds if it sets none.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.terms.lease = lease;
        self
    }

    /// How long to wait while another attempt runs, before the outcome is [`Outcome::Running`]. Default: the service's; if
    /// it sets none, not at all.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.terms.wait = wait;
        self
    }

    /// What happens to a key whose attempt died. Default: the service's; if it sets none, [`Takeover::Rerun`].
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.terms.takeover = takeover;
        self
    }

    /// After how long the broker delivers a message again that was not acknowledged. The lease must be shorter: otherwise
    /// a redelivery finds the dead attempt's claim, and the message counts one more failed delivery. If it is not,
    /// [`run`](Self::run) refuses with [`RunError::LeaseTooLong`] before anything happens. Default: not checked.
    pub fn redelivered_after(mut self, time: Duration) -> Self {
        self.redelivered_after = Some(time);
        self
    }

    /// Stops the attempt when the future of [`run`](Self::run) is dropped, and ends its lease, so that the next delivery
    /// need not wait. The next attempt is [recovering](crate::Claim::recovering), since the effects are unknown.
    ///
    /// Default: the attempt goes on in a task, as a handler does when its client hangs up, and its result is stored.
    pub fn cancel_with_caller(mut self) -> Self {
        self.cancelled_with_caller = true;
        self
    }
}
