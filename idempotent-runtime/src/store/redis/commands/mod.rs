//! The commands by which a claim is made, kept and ended, and what the answers mean.

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

/// A record that comes and goes between two of our commands is looked at again so many times.
const LOOKS: usize = 3;

fn bytes(value: &Value) -> Result<&[u8], Cause> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(Cause::Unexpected) }
}

/// The word that an answer begins with, and what follows it.
fn word_first(answer: &Value) -> Result<(&[u8], &[Value]), Cause> {
    let Value::Array(answer) = answer else { return Err(Cause::Unexpected) };
    let (word, rest) = answer.split_first().ok_or(Cause::Unexpected)?;
    Ok((bytes(word)?, rest))
}
