//! The commands that make, renew and end a claim, and the meaning of their answers.

mod claim;
mod end;
mod keep;
mod lookup;

use redis::Value;

pub(super) use self::{
    claim::claim,
    end::{abandon, complete, release, replace},
    keep::{renew, save_steps},
    lookup::{forget, lookup},
};
use super::cause::Cause;

/// How often a record is read again when it appears or disappears between two commands.
const LOOKS: usize = 3;

fn bytes(value: &Value) -> Result<&[u8], Cause> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(Cause::Unexpected) }
}

/// The word at the start of an answer, and the rest of the answer.
fn word_first(answer: &Value) -> Result<(&[u8], &[Value]), Cause> {
    let Value::Array(answer) = answer else { return Err(Cause::Unexpected) };
    let (word, rest) = answer.split_first().ok_or(Cause::Unexpected)?;
    Ok((bytes(word)?, rest))
}
