//! [`Sealed`]: an operation on a store that has only encrypted bodies.

use std::time::SystemTime;

use bytes::Bytes;

use super::{
    ClaimRequest, Head, Put, Seen, State, StoreError, StoreKey,
    sealing::{EncryptionKeys, Purpose, SealError},
};
use crate::{
    error_chain::chain,
    protocol::{Change, Operation, Step},
    telemetry::limited,
};

/// Carries out an operation: encrypts each body that it writes, and decrypts each that it meets.
pub(super) struct Sealed<'a, O> {
    pub(super) operation: O,
    pub(super) keys: &'a EncryptionKeys,
}

impl<O: Operation> Sealed<'_, O> {
    fn seal(&self, step: Step<O::Outcome>) -> Step<O::Outcome> {
        let Step::Swap(expect, put) = step else { return step };
        let Some(plain) = put.body.as_ref().filter(|plain| !is_none(&put.head, plain)) else {
            return Step::Swap(expect, put);
        };
        match self.keys.seal(purpose(&put.head), self.operation.key(), &put.head.fingerprint, plain) {
            Ok(sealed) => Step::Swap(expect, Put { body: Some(sealed), ..put }),
            Err(error) => Step::Answer(Err(StoreError::Refused(error.into()))),
        }
    }

    /// A body that cannot be decrypted is missing. The record then counts as unreadable, and never as absent.
    fn open(&self, seen: Seen) -> Seen {
        let Seen::Record { head, body: Some(sealed), left } = seen else { return seen };
        if is_none(&head, &sealed) {
            return Seen::Record { head, body: Some(sealed), left };
        }
        let opened = self.keys.open(purpose(&head), self.operation.key(), &head.fingerprint, &sealed);
        let failed = |error: &SealError| limited!(RECORD_SEALED, error = %chain(error));
        Seen::Record { body: opened.inspect_err(failed).ok(), head, left }
    }
}

/// An attempt without steps has nothing to encrypt. Neither has the mark of a freed key.
fn is_none(head: &Head, body: &Bytes) -> bool {
    body.is_empty() && head.state != State::Done
}

fn purpose(head: &Head) -> Purpose {
    if head.state == State::Done { Purpose::Record } else { Purpose::Steps }
}

impl<O: Operation> Operation for Sealed<'_, O> {
    type Outcome = O::Outcome;

    fn key(&self) -> &StoreKey {
        self.operation.key()
    }

    fn claims(&self) -> Option<&ClaimRequest> {
        self.operation.claims()
    }

    fn begin(&mut self, count: impl Fn() -> Change) -> Step<O::Outcome> {
        let step = self.operation.begin(count);
        self.seal(step)
    }

    fn met(&mut self, seen: Seen, refused: Option<StoreError>, count: impl Fn() -> Change) -> Step<O::Outcome> {
        let step = self.operation.met(self.open(seen), refused, count);
        self.seal(step)
    }

    fn written(&mut self, fence: u64) -> Step<O::Outcome> {
        let step = self.operation.written(fence);
        self.seal(step)
    }

    fn clock(&mut self, now: SystemTime, count: impl Fn() -> Change) -> Step<O::Outcome> {
        let step = self.operation.clock(now, count);
        self.seal(step)
    }
}
