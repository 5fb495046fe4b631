//! Claiming a key.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::{
    LOOKS, bytes,
    lookup::{Found, read},
    word_first,
};
use crate::{
    config::policy::Takeover,
    store::{
        Acquired, ClaimOutcome, ClaimRequest, StoreError,
        redis::{
            cause::Cause,
            header::{self, Header, Tag, digits},
            scripts::{self, whole},
            supervisor::Call,
        },
    },
};

/// Claims the key in one round trip. If another attempt's running claim is found, in two.
pub(in super::super) async fn claim(call: Call<'_>, attempt: &ClaimRequest) -> Result<ClaimOutcome, StoreError> {
    let header = Header::running(attempt, call.fence().await?);
    let command = set_if_absent(attempt, &header);
    for _ in 0..LOOKS {
        let found = match call.send(&command).await {
            Ok(Value::Nil) => return Ok(ClaimOutcome::Acquired(Acquired::new(header.fence, false))),
            Ok(Value::BulkString(record)) => record,
            Ok(_) => return Err(Cause::Unexpected.into()),
            Err(cause) if cause.is_wrong_type() => return Ok(ClaimOutcome::Unreadable),
            Err(cause) if cause.forbids_writing() => {
                return Box::pin(without_writing(call, attempt, &header, cause)).await;
            }
            Err(cause) => return Err(cause.into()),
        };
        let Some((found, body)) = Header::decode(found) else { return Ok(ClaimOutcome::Unreadable) };
        if let Some(answer) = known(&found, body, attempt) {
            return Ok(answer);
        }
        if let Some(answer) = Box::pin(take_over(call, attempt, &header)).await? {
            return Ok(answer);
        }
    }
    Err(StoreError::Timeout)
}

/// `SET key header NX GET PX kept`.
fn set_if_absent(attempt: &ClaimRequest, header: &Header) -> Cmd {
    let key = attempt.key.as_str();
    let mut command = Cmd::with_capacity(7, "SETNXGETPX".len() + key.len() + header::LENGTH + 13);
    command.arg("SET").arg(key).arg(&header.encode(false)).arg("NX").arg("GET").arg("PX").arg(header.kept);
    command
}

/// What the record means for an attempt, as far as no clock is needed. `None` if a clock is needed.
fn known(found: &Header, body: Bytes, attempt: &ClaimRequest) -> Option<ClaimOutcome> {
    let ours = found.token == attempt.token;
    match found.tag {
        _ if !ours && found.fingerprint != attempt.fingerprint => Some(ClaimOutcome::OtherRequest),
        // A finished record is replayed even if somebody removed its expiry: one round trip does not show that, and the
        // bytes are valid.
        Tag::Done => Some(ClaimOutcome::Done(body)),
        tag if ours => Some(ClaimOutcome::Acquired(acquired(found.fence, tag == Tag::Recovering, body))),
        _ => None,
    }
}

fn acquired(fence: u64, recovering: bool, steps: Bytes) -> Acquired {
    let mut acquired = Acquired::new(fence, recovering);
    acquired.steps = steps;
    acquired
}

/// Asks the server whether the lease of a running record is over, and if so takes the key over. `None`: read the key
/// again.
async fn take_over(call: Call<'_>, attempt: &ClaimRequest, claim: &Header) -> Result<Option<ClaimOutcome>, StoreError> {
    let mode: &[u8] = match attempt.takeover {
        Takeover::Rerun => b"rerun",
        Takeover::Refuse => b"refuse",
    };
    let (fence, lease, kept) = (digits::<16>(claim.fence), digits::<10>(claim.lease), digits::<13>(claim.kept));
    let arguments: [&[u8]; 6] = [attempt.token.as_bytes(), &fence, &lease, &kept, attempt.fingerprint.as_bytes(), mode];
    let answer = match scripts::TAKEOVER.run(call, attempt.key.as_str(), &arguments.map(whole)).await {
        Ok(answer) => answer,
        Err(cause) if cause.is_wrong_type() => return Ok(Some(ClaimOutcome::Unreadable)),
        Err(cause) => return Err(cause.into()),
    };
    Ok(Some(match word_first(&answer)? {
        (b"ours", [fence, tag, steps]) => ClaimOutcome::Acquired(acquired(
            header::number(bytes(fence)?).ok_or(Cause::Unexpected)?,
            bytes(tag)? == b"R",
            Bytes::copy_from_slice(bytes(steps)?),
        )),
        (b"running", [Value::Int(left)]) => ClaimOutcome::Running { left: Duration::from_millis(left.unsigned_abs()) },
        (b"other", []) => ClaimOutcome::OtherRequest,
        (b"died", []) => ClaimOutcome::Died,
        (b"unreadable", []) => ClaimOutcome::Unreadable,
        (b"done" | b"absent", []) => return Ok(None),
        _ => return Err(Cause::Unexpected.into()),
    }))
}

/// The server accepts no writes, but can be read. A key that has a record is still answered, so that replays go on.
async fn without_writing(
    call: Call<'_>,
    attempt: &ClaimRequest,
    claim: &Header,
    cause: Cause,
) -> Result<ClaimOutcome, StoreError> {
    let (found, body, left) = match read(call, &attempt.key).await? {
        Found::Nothing => return Err(cause.into()),
        Found::Unreadable => return Ok(ClaimOutcome::Unreadable),
        Found::Record(found, body, left) => (found, body, left),
    };
    match known(&found, body, attempt) {
        // A replica may lag behind. A claim that looks like ours there may have been taken over.
        Some(ClaimOutcome::Acquired(_)) if cause.is_read_only() => Err(cause.into()),
        Some(answer) => Ok(answer),
        None if !left.is_zero() => Ok(ClaimOutcome::Running { left }),
        // A takeover writes no more bytes than it replaces, so the script is allowed when memory is short.
        None if cause.is_full() => take_over(call, attempt, claim).await?.ok_or(StoreError::Timeout),
        None if attempt.takeover == Takeover::Refuse && !cause.is_read_only() => Ok(ClaimOutcome::Died),
        // The attempt died, and the key cannot be taken over now. An error would claim that nothing is known of the
        // key.
        None => Ok(ClaimOutcome::Running { left }),
    }
}
