//! What is wrong with an option's name or with a word, a flag or a path that it takes.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens as _;
use syn::{Error, Expr, Ident, Lit, LitStr, Token};

use super::place::fault;
use crate::table::{KNOWN, Word, choices, example, known_names, nearest};

pub(crate) fn value_without_name(value: &Lit) -> Error {
    let example = match value {
        Lit::Str(text) => text.to_token_stream().to_string(),
        _ => r#""24h""#.to_owned(),
    };
    fault(value, format!("a value without a name; write `ttl = {example}`"))
}

pub(crate) fn expected_option(place: Span) -> Error {
    Error::new(place, format!("expected an option: {}", known_names()))
}

pub(crate) fn unknown_option(name: &Ident) -> Error {
    let written = name.to_string();
    let message = if let Some(help) = foreign_word(&written) {
        format!("there is no option `{written}`; {help}")
    } else if let Some(example) = nearest(&written, KNOWN.map(|(known, _)| known)).map(example) {
        format!("there is no option `{written}`; did you mean `{example}`?")
    } else {
        format!("there is no option `{written}`; there are {}", known_names())
    };
    fault(name, message)
}

/// What other libraries and other people call it.
fn foreign_word(written: &str) -> Option<&'static str> {
    Some(match written {
        "expires" | "expire" | "expiry" | "expires_in" | "expires_after" | "expiration" | "lifetime" | "retention"
        | "max_age" | "ttl_secs" | "ttl_seconds" | "ttl_ms" | "window" | "duration" => {
            r#"how long a response is replayed is `ttl = "24h"`"#
        }
        "timeout" | "lock" | "lock_ttl" | "lock_timeout" | "lock_for" | "locked_for" | "in_flight"
        | "processing_timeout" | "heartbeat" => {
            r#"how long a claim outlives the process that made it is `lease = "30s"`; a limit on the handler itself is a matter for a timeout inside it"#
        }
        "wait_timeout" | "wait_for" | "poll" | "block" | "retry" | "retries" => {
            r#"how long a duplicate waits for the first request is `wait = "5s"`"#
        }
        "optional" | "strict" | "mandatory" | "enforce" => "whether a request must have a key is `required = false`",
        "user" | "tenant" | "owner" | "principal" | "per" | "key_by" | "key_prefix" | "account" => {
            "whose key it is, is `scope = user.id`"
        }
        "cache" | "cacheable" | "statuses" | "status" | "store_on" | "replay_on" | "cache_errors" => {
            r#"which responses are kept is `replay = "final"`"#
        }
        "recover" | "recovery" | "on_crash" | "resume" | "on_lost" => {
            r#"what becomes of a dead attempt is `takeover = "refuse"`"#
        }
        "format" | "key_format" | "uuid" | "validate" => r#"which keys are valid is `key = "uuid"`"#,
        "header_name" | "key_header" => r#"this handler's key header is `header = "webhook-id"`"#,
        "compare" | "payload" | "body" | "hash" | "fingerprints" | "payload_validation" => {
            "what a retry must equal is `fingerprint = (order.id, &order.items)`"
        }
        "idempotency" | "backend" | "extension" => {
            "where the `Idempotency` comes from is `store = extension`, or `store = EXPRESSION`"
        }
        "name" | "namespace" | "prefix" | "credentials" | "max_response" | "max_size" | "outage" | "fail_open"
        | "journal" | "redis" => "this is one choice for the whole service: set it on `Idempotency::builder(store)`",
        "path" | "crate_path" | "krate" | "runtime" => "the crate is named by `crate = path::to::idempotent_runtime`",
        _ => return None,
    })
}

pub(crate) fn repeated_option(name: &Ident) -> Error {
    fault(name, format!("`{name}` is given twice; keep one of them"))
}

pub(crate) fn parenthesised_value(name: &Ident, example: &str) -> Error {
    fault(name, format!("`{name}` takes its value behind an `=`; write `{example}`"))
}

pub(crate) fn option_without_value(name: &Ident, example: &str) -> Error {
    fault(name, format!("`{name}` needs a value; write `{example}`"))
}

pub(crate) fn half_typed(name: &Ident, equals: Token![=], example: &str) -> Error {
    let place = [name.to_token_stream(), equals.to_token_stream()];
    fault(place.into_iter().collect::<TokenStream>(), format!("`{name}` needs a value; write `{example}`"))
}

pub(crate) fn unreadable_value(name: &Ident, error: &Error, example: &str) -> Error {
    Error::new(error.span(), format!("this is no value for `{name}` ({error}); write `{example}`"))
}

pub(crate) fn missing_comma(place: Span) -> Error {
    Error::new(place, "expected `,` between two options")
}

pub(crate) fn unknown_word(name: &str, words: &[Word], written: &LitStr) -> Error {
    let text = written.value();
    let help = nearest(&text, words.iter().map(|(word, _)| *word)).map_or_else(
        || format!("write {}", choices(name, words)),
        |near| format!("did you mean `{name} = \"{near}\"`?"),
    );
    fault(written, format!("`{name}` has no value `\"{text}\"`; {help}"))
}

pub(crate) fn unquoted_word(name: &str, words: &[Word], value: &Expr, written: &str) -> Error {
    let help = nearest(written, words.iter().map(|(word, _)| *word))
        .map_or_else(|| choices(name, words), |near| format!("`{name} = \"{near}\"`"));
    fault(value, format!("`{name}` takes a word in quotes; write {help}"))
}

pub(crate) fn not_a_word(name: &str, words: &[Word], value: &Expr) -> Error {
    fault(value, format!("`{name}` takes a word in quotes; write {}", choices(name, words)))
}

pub(crate) fn not_a_bool(name: &str, value: &Expr) -> Error {
    fault(value, format!("`{name}` is yes or no; write `{name} = false` or `{name} = true`"))
}

pub(crate) fn not_a_path(value: &Expr) -> Error {
    fault(value, "`crate` takes a path without quotes; write `crate = path::to::idempotent_runtime`")
}

pub(crate) fn not_a_header(value: &Expr) -> Error {
    fault(value, "`header` takes the name of a header in quotes; write `header = \"webhook-id\"`")
}

pub(crate) fn not_a_header_name(text: &LitStr) -> Error {
    fault(text, "this is no header's name, which has letters, digits and `-`; write it like `header = \"webhook-id\"`")
}

pub(crate) fn header_beside_a_key(header: &LitStr) -> Error {
    fault(
        header,
        "the key of this handler is an expression, so no header carries it; remove `header`, or write `key = \"any\"`",
    )
}
