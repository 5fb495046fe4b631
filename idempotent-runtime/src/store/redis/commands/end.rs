//! Ends a claim, with a response or without.

use redis::{Cmd, Value};

use crate::store::{
    ClaimRequest, CompleteOutcome, ReleaseOutcome, StoreError,
    redis::{
        cause::Cause,
        header::{self, Header},
        scripts::{self, Argument, Script, push_in_pieces, whole},
        supervisor::Call,
    },
};

/// Replaces the running record by the finished one.
///
/// If the server can compare a value by itself, it is asked to replace the running header of a first attempt without
/// steps. Nearly every record is that. In all other cases the script decides.
pub(in super::super) async fn complete(
    call: Call<'_>,
    attempt: &ClaimRequest,
    fence: u64,
    body: &[u8],
) -> Result<CompleteOutcome, StoreError> {
    let connection = call.connection().await?;
    if connection.may_compare() {
        match call.send_over(&connection, &set_if_equal(attempt, fence, body)).await {
            Ok(Value::Okay) => return Ok(CompleteOutcome::Stored),
            // The key has another record, or none.
            Ok(Value::Nil) => {}
            Ok(_) => return Err(Cause::Unexpected.into()),
            // An older server. It is asked once for each connection.
            Err(cause) if cause.is_unknown_command() => connection.cannot_compare(),
            // The script is allowed to write when memory is short.
            Err(Cause::Server(_)) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
    drop(connection);
    by_script(call, &scripts::COMPLETE, attempt, fence, body).await
}

/// `SET key done IFEQ running PX kept`.
fn set_if_equal(attempt: &ClaimRequest, fence: u64, body: &[u8]) -> Cmd {
    let key = attempt.key.as_str();
    let (running, done) = (Header::running(attempt, fence), Header::done(attempt, fence));
    let (running, done_header) = (running.encode(false), done.encode(false));
    let mut command = Cmd::with_capacity(7, "SETIFEQPX".len() + key.len() + 2 * header::LENGTH + body.len() + 13);
    command.arg("SET").arg(key);
    push_in_pieces(&mut command, (&done_header, body));
    command.arg("IFEQ").arg(&running).arg("PX").arg(done.kept);
    command
}

/// Replaces this attempt's own finished record.
pub(in super::super) async fn replace(
    call: Call<'_>,
    attempt: &ClaimRequest,
    fence: u64,
    body: &[u8],
) -> Result<CompleteOutcome, StoreError> {
    by_script(call, &scripts::REPLACE, attempt, fence, body).await
}

async fn by_script(
    call: Call<'_>,
    script: &Script,
    attempt: &ClaimRequest,
    fence: u64,
    body: &[u8],
) -> Result<CompleteOutcome, StoreError> {
    let header = Header::done(attempt, fence).encode(false);
    let kept = header.get(header::KEPT_DIGITS).unwrap_or_default();
    let arguments = [whole(attempt.token.as_bytes()), (&header, body), whole(kept)];
    Ok(match word(call, script, attempt, &arguments).await? {
        Some(word) => match word.as_slice() {
            b"stored" => CompleteOutcome::Stored,
            b"already" => CompleteOutcome::AlreadyStored,
            b"lost" => CompleteOutcome::Lost,
            _ => return Err(Cause::Unexpected.into()),
        },
        None => CompleteOutcome::Lost,
    })
}

/// Frees the key. If the claim is a takeover or has steps, only ends the lease.
pub(in super::super) async fn release(call: Call<'_>, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
    match word(call, &scripts::RELEASE, attempt, &[whole(attempt.token.as_bytes())]).await?.as_deref() {
        Some(b"keep") => abandon(call, attempt).await,
        word => ending(word),
    }
}

/// Ends the lease and keeps the record.
pub(in super::super) async fn abandon(call: Call<'_>, attempt: &ClaimRequest) -> Result<ReleaseOutcome, StoreError> {
    ending(word(call, &scripts::ABANDON, attempt, &[whole(attempt.token.as_bytes())]).await?.as_deref())
}

fn ending(word: Option<&[u8]>) -> Result<ReleaseOutcome, StoreError> {
    match word {
        Some(b"ended") => Ok(ReleaseOutcome::Ended),
        Some(b"not ours") | None => Ok(ReleaseOutcome::NotOurs),
        Some(_) => Err(Cause::Unexpected.into()),
    }
}

/// Runs a script that compares the token first and returns one word. `None` when the key holds another type than a
/// string, so that the record is not ours.
async fn word(
    call: Call<'_>,
    script: &Script,
    attempt: &ClaimRequest,
    arguments: &[Argument<'_>],
) -> Result<Option<Vec<u8>>, StoreError> {
    match script.run(call, attempt.key.as_str(), arguments).await {
        Ok(Value::BulkString(word)) => Ok(Some(word)),
        Ok(_) => Err(Cause::Unexpected.into()),
        Err(cause) if cause.is_wrong_type() => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}
