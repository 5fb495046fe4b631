//! Renews the lease of a claim, and saves the steps of its handler.

use redis::Value;

use super::{LOOKS, bytes, word_first};
use crate::store::{
    Acquired, ClaimRequest, RenewOutcome, SaveOutcome, StoreError,
    redis::{
        cause::Cause,
        header::{self, Header, Tag},
        scripts::{self, Argument, Script, whole},
        supervisor::Call,
    },
};

/// The result of a script that changes only this attempt's running record.
enum Kept {
    Changed,
    Completed,
    Lost,
    /// The record was lost and has been created again.
    Recreated,
}

/// Starts the lease again.
pub(in super::super) async fn renew(
    call: Call<'_>,
    attempt: &ClaimRequest,
    held: &Acquired,
) -> Result<RenewOutcome, StoreError> {
    let token = [whole(attempt.token.as_bytes())];
    let kept = keep(call, attempt, &scripts::RENEW, &token, held.recovering, held.fence, &held.steps);
    Ok(match kept.await? {
        Kept::Changed => RenewOutcome::Renewed,
        Kept::Recreated => RenewOutcome::Recreated,
        Kept::Completed => RenewOutcome::Completed,
        Kept::Lost => RenewOutcome::Lost,
    })
}

/// Writes the steps after the running header.
pub(in super::super) async fn save_steps(
    call: Call<'_>,
    attempt: &ClaimRequest,
    fence: u64,
    steps: &[u8],
) -> Result<SaveOutcome, StoreError> {
    let arguments = [attempt.token.as_bytes(), steps].map(whole);
    Ok(match keep(call, attempt, &scripts::SAVE_STEPS, &arguments, true, fence, steps).await? {
        Kept::Changed | Kept::Recreated => SaveOutcome::Saved,
        Kept::Completed | Kept::Lost => SaveOutcome::Lost,
    })
}

/// Runs the script, and creates the record again if the server has lost it.
async fn keep(
    call: Call<'_>,
    attempt: &ClaimRequest,
    script: &Script,
    arguments: &[Argument<'_>],
    recovering: bool,
    fence: u64,
    steps: &[u8],
) -> Result<Kept, StoreError> {
    for _ in 0..LOOKS {
        let answer = match script.run(call, attempt.key.as_str(), arguments).await {
            Err(cause) if cause.is_wrong_type() => return Ok(Kept::Lost),
            answer => answer?,
        };
        let now = match word_first(&answer)? {
            (b"renewed" | b"saved", []) => return Ok(Kept::Changed),
            (b"completed", []) => return Ok(Kept::Completed),
            (b"lost", []) => return Ok(Kept::Lost),
            (b"absent", [seconds, micros]) => micros_of(seconds, micros)?,
            _ => return Err(Cause::Unexpected.into()),
        };
        let mut header = Header::running(attempt, fence);
        if recovering || !steps.is_empty() {
            header.tag = Tag::Recovering;
        }
        if Box::pin(recreate(call, attempt, &header, steps, now)).await? {
            return Ok(Kept::Recreated);
        }
    }
    Err(StoreError::Timeout)
}

/// Creates a lost record again, but no later than the call may take. After that the attempt may end and free its key
/// over another connection, while this command is still delayed on its own. Returns `false` if the key has a record by
/// now.
async fn recreate(
    call: Call<'_>,
    attempt: &ClaimRequest,
    header: &Header,
    steps: &[u8],
    now: u64,
) -> Result<bool, StoreError> {
    let last_moment = now.saturating_add(u64::try_from(call.left().as_micros()).unwrap_or(u64::MAX));
    let record = header.encode(!steps.is_empty());
    let (kept, last_moment) = (header::digits::<13>(header.kept), header::digits::<16>(last_moment));
    let arguments = [(record.as_slice(), steps), whole(&kept), whole(&last_moment)];
    let answer = scripts::RECREATE.run(call, attempt.key.as_str(), &arguments).await?;
    match bytes(&answer)? {
        b"created" => Ok(true),
        b"exists" => Ok(false),
        b"late" => Err(StoreError::Timeout),
        _ => Err(Cause::Unexpected.into()),
    }
}

/// The two numbers of `TIME`, in microseconds.
fn micros_of(seconds: &Value, micros: &Value) -> Result<u64, Cause> {
    let seconds = header::number(bytes(seconds)?).and_then(|seconds| seconds.checked_mul(1_000_000));
    seconds.and_then(|whole| whole.checked_add(header::number(bytes(micros).ok()?)?)).ok_or(Cause::Unexpected)
}
