//! Counts what the requests did.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::{
    http::{Http, Request},
    target::{Effects, Target},
};

/// The current count, or `None` without a way to count.
pub(crate) async fn count(target: &Target, http: &Http) -> Result<Option<i64>, String> {
    match &target.effects {
        Effects::Unknown => Ok(None),
        Effects::By { command } => by_command(command, target.timeout).await.map(Some),
        Effects::At { url, pointer } => {
            let mut request = Request::new("GET", url.clone());
            for (name, value) in &target.headers {
                request = request.line(name, value);
            }
            if let Some(caller) = &target.auth {
                request = request.line(&target.auth_header, caller);
            }
            let answer = http.send(&request).await.map_err(|error| format!("--effects {url}: it {error}"))?;
            if !answer.is_success() {
                return Err(format!("--effects {url}: it answers {}", answer.status));
            }
            read(&answer.body, pointer.as_deref()).map(Some).map_err(|why| format!("--effects {url}: {why}"))
        }
    }
}

async fn by_command(command: &str, patience: Duration) -> Result<i64, String> {
    let failed = |why: &str| format!("--effects-command: {why}");
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(patience, shell.output()).await.map_err(|_| failed("it does not end"))?;
    let output = output.map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(&format!("it ends with {}", output.status)));
    }
    read(&output.stdout, None).map_err(|why| failed(&why))
}

/// Reads a number, the length of a list, or the lines of JSON values.
fn read(text: &[u8], pointer: Option<&str>) -> Result<i64, String> {
    let what_it_needs = "it has to be a number or a list in JSON; --effects-at says where it is in a larger document";
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("{what_it_needs} ({error})"))?;
    let found = match pointer {
        None => Some(&value),
        Some(pointer) => value.pointer(pointer),
    };
    let found = found.ok_or_else(|| format!("--effects-at {} finds nothing", pointer.unwrap_or_default()))?;
    let length = |list: usize| i64::try_from(list).unwrap_or(i64::MAX);
    match found {
        Value::Number(number) => number.as_i64().ok_or_else(|| format!("{number} is no whole number")),
        Value::Array(items) => Ok(length(items.len())),
        Value::String(text) => text.trim().parse().map_err(|_| what_it_needs.to_owned()),
        _ => Err(what_it_needs.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_list_is_counted() {
        let cases: [(&[u8], Option<&str>, i64); 5] = [
            (b"42\n", None, 42),
            (b"[{}, {}]", None, 2),
            (br#"{"data":{"total":7}}"#, Some("/data/total"), 7),
            (br#"{"data":[1]}"#, Some("/data"), 1),
            (br#"{"total":"12"}"#, Some("/total"), 12),
        ];
        for (text, pointer, expected) in cases {
            assert_eq!(read(text, pointer), Ok(expected));
        }
        for (text, pointer) in [(&b"<html>"[..], None), (b"{}", None), (b"{}", Some("/x")), (b"1.5", None)] {
            assert!(read(text, pointer).is_err());
        }
    }
}
