//! The commands by which a claim is made, kept and ended, and what the answers mean.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::{
    cause::Cause,
    header::{self, Header, Tag},
    scripts,
    supervisor::Supervisor,
};
use crate::{
    config::policy::Takeover,
    store::{
        Acquired, Attempt, ClaimOutcome, CompleteOutcome, ForgetOutcome, Lookup, ReleaseOutcome, RenewOutcome,
        StoreError, StoreKey,
    },
};

/// A record that comes and goes between two of our commands is looked at again so many times.
const LOOKS: usize = 3;

/// Claims the key: one round trip, and one more when a running claim of another attempt is met.
pub(super) async fn claim(redis: &Supervisor, attempt: &Attempt) -> Result<ClaimOutcome, StoreError> {
    let fence = redis.clock().fence();
    let header = Header::running(attempt, fence);
    let mut command = redis::cmd("SET");
    command.arg(attempt.key.as_str()).arg(header.encode(b"")).arg(&["NX", "GET", "PX"]).arg(header.kept);

    for _ in 0..LOOKS {
        let found = match redis.ask(&command).await {
            Ok(Value::Nil) => return Ok(ClaimOutcome::Acquired(Acquired::new(header.fence, false))),
            Ok(Value::BulkString(record)) => record,
            Ok(_) => return Err(Cause::Nonsense.into()),
            Err(cause) if cause.is_wrong_type() => return Ok(ClaimOutcome::Unreadable),
            Err(cause) if cause.forbids_writing() => return without_writing(redis, attempt, &header, cause).await,
            Err(cause) => return Err(cause.into()),
        };
        let Some((found, body)) = Header::decode(found) else { return Ok(ClaimOutcome::Unreadable) };
        if let Some(answer) = known(&found, body, attempt) {
            return Ok(answer);
        }
        if let Some(answer) = take_over(redis, attempt, &header).await? {
            return Ok(answer);
        }
    }
    Err(StoreError::Timeout)
}

/// What a record says to an attempt, as far as no clock is needed.
fn known(found: &Header, body: Bytes, attempt: &Attempt) -> Option<ClaimOutcome> {
    let ours = found.token == attempt.token;
    match found.tag {
        _ if !ours && found.fingerprint != attempt.fingerprint => Some(ClaimOutcome::OtherRequest),
        // Replayed even if somebody made it eternal: one round trip does not show that, and the bytes are as good as ever.
        Tag::Done => Some(ClaimOutcome::Done(body)),
        tag if ours => Some(ClaimOutcome::Acquired(Acquired::new(found.fence, tag == Tag::Recovering))),
        _ => None,
    }
}

/// Asks the server whether the lease of a running record is over, and claims the key if so. `None`: look again.
async fn take_over(redis: &Supervisor, attempt: &Attempt, claim: &Header) -> Result<Option<ClaimOutcome>, StoreError> {
    let mode: &[u8] = match attempt.takeover {
        Takeover::Rerun => b"rerun",
        Takeover::Refuse => b"refuse",
    };
    let (fence, lease, kept) = (claim.fence.to_string(), format!("{:010}", claim.lease), format!("{:013}", claim.kept));
    let arguments: [&[u8]; 6] = [
        attempt.token.as_bytes(),
        fence.as_bytes(),
        lease.as_bytes(),
        kept.as_bytes(),
        attempt.fingerprint.as_bytes(),
        mode,
    ];
    let answer = match scripts::TAKEOVER.run(redis, attempt.key.as_str(), &arguments).await {
        Ok(answer) => answer,
        Err(cause) if cause.is_wrong_type() => return Ok(Some(ClaimOutcome::Unreadable)),
        Err(cause) => return Err(cause.into()),
    };
    let Value::Array(answer) = answer else { return Err(Cause::Nonsense.into()) };
    let (word, rest) = answer.split_first().ok_or(Cause::Nonsense)?;
    Ok(Some(match (bytes(word)?, rest) {
        (b"ours", [fence, tag]) => ClaimOutcome::Acquired(Acquired::new(
            header::number(bytes(fence)?).ok_or(Cause::Nonsense)?,
            bytes(tag)? == b"R",
        )),
        (b"running", [Value::Int(left)]) => ClaimOutcome::Running { left: Duration::from_millis(left.unsigned_abs()) },
        (b"other", []) => ClaimOutcome::OtherRequest,
        (b"died", []) => ClaimOutcome::Died,
        (b"unreadable", []) => ClaimOutcome::Unreadable,
        (b"done" | b"absent", []) => return Ok(None),
        _ => return Err(Cause::Nonsense.into()),
    }))
}

/// The server refuses to write, but it reads: what is known of the key is still answered, so that a replay goes on.
async fn without_writing(
    redis: &Supervisor,
    attempt: &Attempt,
    claim: &Header,
    cause: Cause,
) -> Result<ClaimOutcome, StoreError> {
    let (found, body, left) = match read(redis, &attempt.key).await? {
        Found::Nothing => return Err(cause.into()),
        Found::Unreadable => return Ok(ClaimOutcome::Unreadable),
        Found::Record(found, body, left) => (found, body, left),
    };
    match known(&found, body, attempt) {
        // A replica may lag behind: another attempt may have taken over what is ours here.
        Some(ClaimOutcome::Acquired(_)) if cause.is_read_only() => Err(cause.into()),
        Some(answer) => Ok(answer),
        None if !left.is_zero() => Ok(ClaimOutcome::Running { left }),
        // A takeover writes no more than it finds, so it is let in when memory is short.
        None if cause.is_full() => take_over(redis, attempt, claim).await?.ok_or(StoreError::Timeout),
        None if attempt.takeover == Takeover::Refuse && !cause.is_read_only() => Ok(ClaimOutcome::Died),
        // It died, and cannot be taken over now. An error would say that nothing is known of it.
        None => Ok(ClaimOutcome::Running { left }),
    }
}

/// Starts the lease anew.
pub(super) async fn renew(redis: &Supervisor, attempt: &Attempt, held: &Acquired) -> Result<RenewOutcome, StoreError> {
    let mut header = Header::running(attempt, held.fence);
    if held.recovering {
        header.tag = Tag::Recovering;
    }
    let (record, kept) = (header.encode(b""), header.kept.to_string());
    Ok(match word(redis, &scripts::RENEW, attempt, &[&record, kept.as_bytes()]).await?.as_deref() {
        Some(b"renewed") => RenewOutcome::Renewed,
        Some(b"recreated") => RenewOutcome::Recreated,
        Some(b"completed") => RenewOutcome::Completed,
        Some(b"lost") | None => RenewOutcome::Lost,
        Some(_) => return Err(Cause::Nonsense.into()),
    })
}

/// Replaces the running record by the finished one.
pub(super) async fn complete(
    redis: &Supervisor,
    attempt: &Attempt,
    fence: u64,
    body: &[u8],
) -> Result<CompleteOutcome, StoreError> {
    let header = Header::done(attempt, fence);
    let (record, kept) = (header.encode(body), header.kept.to_string());
    Ok(match word(redis, &scripts::COMPLETE, attempt, &[&record, kept.as_bytes()]).await?.as_deref() {
        Some(b"stored") => CompleteOutcome::Stored,
        Some(b"already") => CompleteOutcome::AlreadyStored,
        Some(b"lost") | None => CompleteOutcome::Lost,
        Some(_) => return Err(Cause::Nonsense.into()),
    })
}

/// Replaces the attempt's own finished record.
pub(super) async fn replace(
    redis: &Supervisor,
    attempt: &Attempt,
    fence: u64,
    body: &[u8],
) -> Result<CompleteOutcome, StoreError> {
    let header = Header::done(attempt, fence);
    let (record, kept) = (header.encode(body), header.kept.to_string());
    Ok(match word(redis, &scripts::REPLACE, attempt, &[&record, kept.as_bytes()]).await?.as_deref() {
        Some(b"stored") => CompleteOutcome::Stored,
        Some(b"lost") | None => CompleteOutcome::Lost,
        Some(_) => return Err(Cause::Nonsense.into()),
    })
}

/// Frees the key; of a takeover it only ends the lease.
pub(super) async fn release(redis: &Supervisor, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
    match word(redis, &scripts::RELEASE, attempt, &[]).await?.as_deref() {
        Some(b"takeover") => abandon(redis, attempt).await,
        word => ending(word),
    }
}

/// Ends the lease and keeps the record.
pub(super) async fn abandon(redis: &Supervisor, attempt: &Attempt) -> Result<ReleaseOutcome, StoreError> {
    ending(word(redis, &scripts::ABANDON, attempt, &[]).await?.as_deref())
}

/// Reads what is known of a key.
pub(super) async fn look(redis: &Supervisor, key: &StoreKey) -> Result<Lookup, StoreError> {
    Ok(match read(redis, key).await? {
        Found::Nothing => Lookup::Absent,
        Found::Unreadable => Lookup::Unreadable,
        Found::Record(Header { tag: Tag::Done, fingerprint, .. }, record, _) => Lookup::Done { fingerprint, record },
        Found::Record(Header { fingerprint, .. }, _, left) => Lookup::Running { fingerprint, left },
    })
}

/// Removes what is known of a key, unless an attempt holds its lease.
pub(super) async fn forget(redis: &Supervisor, key: &StoreKey) -> Result<ForgetOutcome, StoreError> {
    let Value::Array(answer) = scripts::FORGET.run(redis, key.as_str(), &[]).await? else {
        return Err(Cause::Nonsense.into());
    };
    let (word, rest) = answer.split_first().ok_or(Cause::Nonsense)?;
    match (bytes(word)?, rest) {
        (b"forgotten", []) => Ok(ForgetOutcome::Forgotten),
        (b"absent", []) => Ok(ForgetOutcome::Absent),
        (b"running", [Value::Int(left)]) => {
            Ok(ForgetOutcome::Running { left: Duration::from_millis(left.unsigned_abs()) })
        }
        _ => Err(Cause::Nonsense.into()),
    }
}

/// What stands under a key, and what is left of its lease.
enum Found {
    Nothing,
    Unreadable,
    Record(Header, Bytes, Duration),
}

/// The record and its expiry, at one moment.
async fn read(redis: &Supervisor, key: &StoreKey) -> Result<Found, StoreError> {
    let answer = match scripts::LOOK.run(redis, key.as_str(), &[]).await {
        Err(cause) if cause.is_wrong_type() => return Ok(Found::Unreadable),
        answer => answer?,
    };
    let Value::Array(answer) = answer else { return Err(Cause::Nonsense.into()) };
    match <[Value; 2]>::try_from(answer) {
        Ok([Value::Nil | Value::Boolean(false), _]) => Ok(Found::Nothing),
        Ok([Value::BulkString(record), Value::Int(pttl)]) => Ok(Header::decode(record)
            .and_then(|(header, body)| header.lease_left(pttl).map(|left| Found::Record(header, body, left)))
            .unwrap_or(Found::Unreadable)),
        _ => Err(Cause::Nonsense.into()),
    }
}

/// Runs a script that compares the token first and answers with one word; `None` when the key holds no string at all,
/// so that it is not ours.
async fn word(
    redis: &Supervisor,
    script: &scripts::Script,
    attempt: &Attempt,
    arguments: &[&[u8]],
) -> Result<Option<Vec<u8>>, StoreError> {
    let arguments = [&[attempt.token.as_bytes().as_slice()], arguments].concat();
    match script.run(redis, attempt.key.as_str(), &arguments).await {
        Ok(Value::BulkString(word)) => Ok(Some(word)),
        Ok(_) => Err(Cause::Nonsense.into()),
        Err(cause) if cause.is_wrong_type() => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

fn ending(word: Option<&[u8]>) -> Result<ReleaseOutcome, StoreError> {
    match word {
        Some(b"ended") => Ok(ReleaseOutcome::Ended),
        Some(b"not ours") | None => Ok(ReleaseOutcome::NotOurs),
        Some(_) => Err(Cause::Nonsense.into()),
    }
}

fn bytes(value: &Value) -> Result<&[u8], Cause> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(Cause::Nonsense) }
}
