//! The register: reads the row of a key, and swaps it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Shared,
    dialect::{self, LONGEST, Parameter},
    error::Failure,
    row::{Columns, digest, seen, state_number, written},
};
use crate::{
    backoff::Backoff,
    protocol::{Change, Expect, Head, Put, Seen, State, Swapped, micros_since_1970},
    store::{StoreError, StoreKey},
};

/// How long a claim keeps trying to get a row that another transaction has locked. After that the key counts as
/// running.
const LOCKED_FOR: Duration = Duration::from_millis(150);

/// The first pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

impl Shared {
    pub(super) async fn read(&self, key: &StoreKey) -> Result<Seen, StoreError> {
        Ok(seen(self.database.read(&self.schema.read, vec![name(key)]).await?))
    }

    pub(super) async fn swap(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
        let begins = put.head.change < Change::COUNTED;
        let limit = if begins { LOCKED_FOR } else { self.settings.timeout };
        let mut backoff = Backoff::new(FIRST_PAUSE, limit).until(Instant::now() + limit);
        loop {
            match self.write(key, expect, put).await {
                Ok(Some(columns)) => {
                    return Ok(match written(&columns) {
                        Some(fence) => Swapped::Done { fence },
                        None => Swapped::Found(seen(Some(columns))),
                    });
                }
                // A statement that lost against another transaction has changed nothing.
                Ok(None) | Err(Failure::Conflict) => {}
                Err(Failure::NotWritable(error)) => return Ok(Swapped::Refused(self.read(key).await?, error)),
                Err(Failure::Other(error)) => return Err(error),
            }
            let seen = self.read(key).await?;
            if !expect.allows(&seen) {
                return Ok(Swapped::Found(seen));
            }
            if put.not_after.is_some() && put.is_late(self.now().await?) {
                return Ok(Swapped::Late);
            }
            // A transaction has locked the row, or it changed between the two statements.
            if !backoff.pause().await {
                return Ok(Swapped::Refused(seen, StoreError::Timeout));
            }
        }
    }

    async fn write(&self, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Option<Columns>, Failure> {
        let (sql, expected) = match expect {
            Expect::Absent => (&self.schema.absent, None),
            Expect::Owner { token, before } => (&self.schema.owner, Some((token, *before))),
            Expect::Exactly(stamp) => (&self.schema.exactly, Some((&stamp.token, stamp.change))),
            Expect::Unreadable => (&self.schema.unreadable, None),
        };
        let mut head = put.head.clone();
        if self.database.pool().is_sqlite() {
            head.raise_fence(micros_since_1970(SystemTime::now()));
        }
        let mut parameters = parameters(key, &head, put);
        if !matches!(expect, Expect::Absent) {
            let (token, change) = match expected {
                Some((token, change)) => (bytes(token.as_bytes()), number(change.number())),
                None => (Parameter::NoBytes, Parameter::NoNumber),
            };
            let flag = |set: bool| Parameter::Number(i64::from(set));
            parameters.extend([token, change, flag(put.body.is_none()), flag(put.keep_expiry)]);
        }
        self.database.write(&self.schema.read, expect, sql, parameters).await
    }

    pub(super) async fn now(&self) -> Result<SystemTime, StoreError> {
        let micros = self.database.number(&self.schema.clock).await?;
        Ok(UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

/// The parameters that all statements have which write.
fn parameters(key: &StoreKey, head: &Head, put: &Put) -> Vec<Parameter<'static>> {
    let Head { token, change, state, fence, lease, kept, fingerprint } = head;
    let body = |put: Option<&Bytes>| match put {
        Some(body) if !body.is_empty() => Parameter::Bytes(body.clone()),
        _ => Parameter::NoBytes,
    };
    let is_done = *state == State::Done;
    vec![
        name(key),
        bytes(token.as_bytes()),
        number(change.number()),
        Parameter::Number(state_number(*state)),
        number(*fence),
        millis(*lease),
        millis(*kept),
        bytes(fingerprint.as_bytes()),
        body(put.body.as_ref().filter(|_| !is_done)),
        body(put.body.as_ref().filter(|_| is_done)),
        put.not_after.map_or(Parameter::NoNumber, |last| number(micros_since_1970(last))),
    ]
}

fn name(key: &StoreKey) -> Parameter<'static> {
    bytes(&digest(key))
}

fn bytes(bytes: &[u8]) -> Parameter<'static> {
    Parameter::Bytes(Bytes::copy_from_slice(bytes))
}

fn number(number: u64) -> Parameter<'static> {
    Parameter::Number(dialect::number(number))
}

/// Whole milliseconds, rounded up: a short lease does not become none.
fn millis(duration: Duration) -> Parameter<'static> {
    Parameter::Number(i64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(i64::MAX).min(LONGEST))
}
