//! Errors about an option's name, or about a word, a flag or a path that it takes.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Error, Expr, Ident, Lit, LitStr, Token};

use super::error_at;
use crate::table::{KNOWN, Word, choices, example, known_names, nearest};

pub(crate) fn value_without_name(value: &Lit) -> Error {
    let example = match value {
        Lit::Str(text) => text.to_token_stream().to_string(),
        _ => r#""24h""#.to_owned(),
    };
    error_at(value, format!("this value needs the name of an option; write `ttl = {example}`"))
}

pub(crate) fn expected_option(place: Span) -> Error {
    Error::new(place, format!("expected an option: {}", known_names()))
}

pub(crate) fn unknown_option(name: &Ident) -> Error {
    let written = name.to_string();
    let message = if let Some(help) = known_elsewhere(&written) {
        format!("there is no option `{written}`; {help}")
    } else if let Some(example) = nearest(&written, KNOWN.map(|(_, known, _)| known)).map(example) {
        format!("there is no option `{written}`; did you mean `{example}`?")
    } else {
        format!("there is no option `{written}`; the options are {}", known_names())
    };
    error_at(name, message)
}

/// The option for a name that other libraries use, or that users try.
fn known_elsewhere(written: &str) -> Option<&'static str> {
    Some(match written {
        "expires" | "expire" | "expiry" | "expires_in" | "expires_after" | "expiration" | "lifetime" | "retention"
        | "max_age" | "ttl_secs" | "ttl_seconds" | "ttl_ms" | "window" | "duration" => {
            r#"to set how long a response is replayed, write `ttl = "24h"`"#
        }
        "timeout" | "lock" | "lock_ttl" | "lock_timeout" | "lock_for" | "locked_for" | "in_flight"
        | "processing_timeout" | "heartbeat" => {
            r#"to set how long a claim stays valid without a heartbeat, write `lease = "30s"`; to limit how long the handler runs, use a timeout inside it"#
        }
        "wait_timeout" | "wait_for" | "poll" | "block" | "retry" | "retries" => {
            r#"to set how long a duplicate waits for the first request, write `wait = "5s"`"#
        }
        "optional" | "strict" | "mandatory" | "enforce" => {
            "a request must have a key by default; to allow requests without one, write `required = false`"
        }
        "user" | "tenant" | "owner" | "principal" | "per" | "key_by" | "key_prefix" | "account" => {
            "to say who a key belongs to, write `scope = user.id`"
        }
        "cache" | "cacheable" | "statuses" | "status" | "store_on" | "replay_on" | "cache_errors" => {
            r#"to choose which responses are replayed, write `replay = "final"`"#
        }
        "recover" | "recovery" | "on_crash" | "resume" | "on_lost" => {
            r#"to refuse retries after an attempt died, write `takeover = "refuse"`"#
        }
        "format" | "key_format" | "uuid" | "validate" => r#"to choose which keys are accepted, write `key = "uuid"`"#,
        "header_name" | "key_header" => r#"to read the key from another header, write `header = "webhook-id"`"#,
        "compare" | "payload" | "body" | "hash" | "fingerprints" | "payload_validation" => {
            "to choose what must be the same in a retry, write `fingerprint = (order.id, &order.items)`"
        }
        "idempotency" | "backend" | "extension" => {
            "to choose where the `Idempotency` comes from, write `store = extension` or `store = EXPRESSION`"
        }
        "name" | "id" | "route" | "method" | "action" => {
            r#"to name the operation in place of its method and route, write `operation = "refunds.create"`"#
        }
        "namespace" | "prefix" | "credentials" | "max_response" | "max_size" | "outage" | "fail_open" | "journal"
        | "redis" => "this is set once for the whole service, on `Idempotency::builder(store)`",
        "path" | "crate_path" | "krate" | "runtime" => {
            "to name the runtime crate, write `crate = path::to::idempotent_runtime`"
        }
        _ => return None,
    })
}

pub(crate) fn repeated_option(name: &Ident) -> Error {
    error_at(name, format!("`{name}` is given twice; keep one of them"))
}

pub(crate) fn parenthesised_value(name: &Ident, example: &str) -> Error {
    error_at(name, format!("`{name}` takes its value after an `=`; write `{example}`"))
}

pub(crate) fn option_without_value(name: &Ident, example: &str) -> Error {
    error_at(name, format!("`{name}` needs a value; write `{example}`"))
}

pub(crate) fn half_typed(name: &Ident, equals: Token![=], example: &str) -> Error {
    let place = [name.to_token_stream(), equals.to_token_stream()];
    error_at(place.into_iter().collect::<TokenStream>(), format!("`{name}` needs a value; write `{example}`"))
}

pub(crate) fn unreadable_value(name: &Ident, error: &Error, example: &str) -> Error {
    Error::new(error.span(), format!("this is not a value for `{name}` ({error}); write `{example}`"))
}

pub(crate) fn missing_comma(place: Span) -> Error {
    Error::new(place, "expected `,` between two options")
}

pub(crate) fn unknown_word(name: &str, words: &[Word], written: &LitStr) -> Error {
    let text = written.value();
    let help = nearest(&text, words.iter().map(|(word, _)| *word)).map_or_else(
        || format!("write {}", choices(name, words)),
        |near| format!("did you mean `{name} = \"{near}\"`? The values are {}", choices(name, words)),
    );
    error_at(written, format!("`{name}` has no value `\"{text}\"`; {help}"))
}

pub(crate) fn unquoted_word(name: &str, words: &[Word], value: &Expr, written: &str) -> Error {
    let help = nearest(written, words.iter().map(|(word, _)| *word))
        .map_or_else(|| choices(name, words), |near| format!("`{name} = \"{near}\"`"));
    error_at(value, format!("`{name}` takes a word in quotes; write {help}"))
}

pub(crate) fn not_a_word(name: &str, words: &[Word], value: &Expr) -> Error {
    error_at(value, format!("`{name}` takes a word in quotes; write {}", choices(name, words)))
}

pub(crate) fn not_a_bool(name: &str, value: &Expr) -> Error {
    error_at(value, format!("`{name}` takes `true` or `false`; write `{name} = false` or `{name} = true`"))
}

pub(crate) fn not_a_path(value: &Expr) -> Error {
    error_at(value, "`crate` takes a path without quotes; write `crate = path::to::idempotent_runtime`")
}

pub(crate) fn not_a_header(value: &Expr) -> Error {
    error_at(value, "`header` takes the name of a header in quotes; write `header = \"webhook-id\"`")
}

pub(crate) fn not_a_header_name(text: &LitStr) -> Error {
    error_at(text, "this is not the name of a header; use letters, digits and `-`, as in `header = \"webhook-id\"`")
}

pub(crate) fn not_an_operation(value: impl ToTokens) -> Error {
    error_at(
        value,
        "`operation` takes a name in quotes, of letters, digits, `.`, `-` and `_`; write `operation = \"refunds.create\"`",
    )
}

pub(crate) fn header_beside_a_key(header: &LitStr) -> Error {
    error_at(
        header,
        "`key` is an expression here, so the key is not read from a header; remove `header`, or write `key = \"any\"`",
    )
}
