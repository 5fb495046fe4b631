//! The register: reads the record of a key, and changes it if it is what is expected.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use redis::{Cmd, Value};

use super::{
    failure::RedisFailure,
    scripts::{self, Argument, Invocation, push_in_pieces, whole},
    supervisor::Call,
};
use crate::{
    protocol::micros_since_1970,
    store::{Change, Expect, Head, Put, Seen, State, StoreError, StoreKey, Swapped},
};

/// Reads the record and its expiry at the same moment.
pub(super) async fn read(call: Call<'_>, key: &StoreKey) -> Result<Seen, StoreError> {
    match scripts::READ.run(call, |script| script.on(key.as_str(), &[])).await {
        Ok(answer) => Ok(seen(answer)?),
        // The key holds a list, a hash or another type, so it is not our record.
        Err(cause) if cause.is("WRONGTYPE") => Ok(Seen::Unreadable),
        Err(cause) => Err(cause.into()),
    }
}

/// Writes the record if what is there is as expected. A claim, a replay and most completions are one plain command.
/// Everything else is one script.
pub(super) async fn swap(call: Call<'_>, key: &StoreKey, expect: &Expect, put: &Put) -> Result<Swapped, StoreError> {
    let mut swap = Swap { call, key: key.as_str(), put, head: put.head.clone() };
    if swap.head.change < Change::COUNTED {
        swap.head.raise_fence(call.fence().await?);
    }
    let answer = match expect {
        Expect::Absent if !put.urgent && put.not_after.is_none() => swap.if_absent().await,
        Expect::Absent => swap.by_script(b"absent", b"", Change::new(0)).await,
        Expect::Owner { token, before } => swap.if_owner(token.as_bytes(), *before).await,
        Expect::Exactly(stamp) => swap.by_script(b"exactly", stamp.token.as_bytes(), stamp.change).await,
        Expect::Unreadable => Box::pin(swap.if_unreadable()).await,
    };
    match answer {
        Err(cause) if cause.is("WRONGTYPE") => Ok(Swapped::Found(Seen::Unreadable)),
        // The server accepts no writes, but can be read.
        Err(cause) if cause.forbids_writing() => Ok(Swapped::Refused(Box::pin(read(call, key)).await?, cause.into())),
        answer => Ok(answer?),
    }
}

struct Swap<'a> {
    call: Call<'a>,
    key: &'a str,
    put: &'a Put,
    /// The head to write. Its fence is raised to the server's clock.
    head: Head,
}

impl Swap<'_> {
    /// `SET key record NX GET PX kept`.
    async fn if_absent(&self) -> Result<Swapped, RedisFailure> {
        let mut command = self.set(0);
        command.arg("NX").arg("GET").arg("PX").arg(kept(&self.head));
        match self.call.send(&command).await? {
            Value::Nil => Ok(self.done()),
            Value::BulkString(record) => Ok(Swapped::Found(decoded(record, None))),
            _ => Err(RedisFailure::Unexpected),
        }
    }

    /// The first response of an attempt replaces a claim that was not renewed and has no steps: nearly every completion
    /// does. If the server can compare by itself, it is asked for that. In all other cases the script decides.
    async fn if_owner(&self, token: &[u8], before: Change) -> Result<Swapped, RedisFailure> {
        if self.head.change == Change::COMPLETED && self.is_swapped_for_claim().await? {
            return Ok(self.done());
        }
        self.by_script(b"owner", token, before).await
    }

    /// `SET key record IFEQ claim PX kept`.
    async fn is_swapped_for_claim(&self) -> Result<bool, RedisFailure> {
        let connection = self.call.supervisor.current().await?;
        if connection.no_comparison.load(Relaxed) {
            return Ok(false);
        }
        let claim = first_claim(&self.head).encode(false);
        let mut command = self.set(claim.len());
        command.arg("IFEQ").arg(&*claim).arg("PX").arg(kept(&self.head));
        match self.call.send_over(&connection, &command).await {
            Ok(Value::Okay) => Ok(true),
            // The key has another record, or none.
            Ok(Value::Nil) => Ok(false),
            Ok(_) => Err(RedisFailure::Unexpected),
            // An older server does not know the option. It is asked once for each connection.
            Err(cause) if cause.is("ERR") => {
                connection.no_comparison.store(true, Relaxed);
                Ok(false)
            }
            // Only the script is allowed to write when memory is short.
            Err(RedisFailure::Server(_)) => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// Replaces exactly the bytes that cannot be read.
    async fn if_unreadable(&self) -> Result<Swapped, RedisFailure> {
        let found = match scripts::READ.run(self.call, |script| script.on(self.key, &[])).await {
            Err(cause) if cause.is("WRONGTYPE") => return self.by_script(b"unreadable", b"", Change::new(0)).await,
            answer => answer?,
        };
        match (&found, seen(found.clone())?) {
            (Value::Array(answer), Seen::Unreadable) => {
                let bytes = answer.first().map(bytes).transpose()?.unwrap_or_default();
                self.by_script(b"unreadable", bytes, Change::new(0)).await
            }
            (_, other) => Ok(Swapped::Found(other)),
        }
    }

    async fn by_script(&self, expected: &[u8], owner: &[u8], change: Change) -> Result<Swapped, RedisFailure> {
        let script = if self.put.urgent { &scripts::SWAP_URGENT } else { &scripts::SWAP };
        match script.run(self.call, |script| self.scripted(&script, expected, owner, change)).await? {
            Value::BulkString(word) if word == b"done" => Ok(self.done()),
            Value::BulkString(word) if word == b"late" => Ok(Swapped::Late),
            answer => Ok(Swapped::Found(seen(answer)?)),
        }
    }

    fn scripted(&self, script: &Invocation<'_>, expected: &[u8], owner: &[u8], change: Change) -> Cmd {
        let put = self.put;
        let head = self.head.encode(put.body.as_ref().is_none_or(|body| !body.is_empty()));
        let number = change.digits();
        let expiry = if put.keep_expiry { String::new() } else { self.head.kept_millis().to_string() };
        let last_moment = put.not_after.map(|last| micros_since_1970(last).to_string()).unwrap_or_default();
        let body: Argument<'_> = match &put.body {
            Some(body) => (&head, body),
            None => whole(&head),
        };
        let what_to_keep = if put.body.is_some() { "" } else { "body" };
        let arguments = [
            whole(expected),
            whole(owner),
            whole(&number),
            body,
            whole(expiry.as_bytes()),
            whole(what_to_keep.as_bytes()),
            whole(last_moment.as_bytes()),
        ];
        script.on(self.key, &arguments)
    }

    /// `SET key record`, with room for more arguments.
    fn set(&self, more: usize) -> Cmd {
        let body = self.put.body.as_deref().unwrap_or_default();
        let head = self.head.encode(!body.is_empty());
        let mut command =
            Cmd::with_capacity(7, "SETNXGETPX".len() + self.key.len() + head.len() + body.len() + more + 13);
        command.arg("SET").arg(self.key);
        push_in_pieces(&mut command, (&head, body));
        command
    }

    fn done(&self) -> Swapped {
        Swapped::Done { fence: self.head.fence }
    }
}

/// The claim that an attempt made if it has finished and did nothing else before.
fn first_claim(done: &Head) -> Head {
    Head {
        change: Change::FIRST,
        state: State::Running { recovering: false },
        kept: done.lease.saturating_add(done.kept),
        ..done.clone()
    }
}

/// How long the record is kept, in milliseconds. Redis refuses an expiry of 0.
fn kept(head: &Head) -> u64 {
    head.kept_millis().max(1)
}

/// Reads the answer of a script: a record and its expiry.
fn seen(answer: Value) -> Result<Seen, RedisFailure> {
    let Value::Array(answer) = answer else { return Err(RedisFailure::Unexpected) };
    match <[Value; 2]>::try_from(answer) {
        Ok([Value::Nil | Value::Boolean(false), _]) => Ok(Seen::Absent),
        Ok([Value::BulkString(record), Value::Int(pttl)]) => Ok(match u64::try_from(pttl) {
            Ok(left) => decoded(record, Some(Duration::from_millis(left))),
            // It never expires.
            Err(_) => Seen::Unreadable,
        }),
        _ => Err(RedisFailure::Unexpected),
    }
}

fn decoded(record: Vec<u8>, left: Option<Duration>) -> Seen {
    match Head::decode(record) {
        Some((head, body)) => Seen::Record { head, body: Some(body), left },
        None => Seen::Unreadable,
    }
}

fn bytes(value: &Value) -> Result<&[u8], RedisFailure> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(RedisFailure::Unexpected) }
}
