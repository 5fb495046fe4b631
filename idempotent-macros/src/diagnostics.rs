//! Every message of the attribute.
//!
//! Each stands at the user's token and ends in the text to type.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use humantime::format_duration;
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, Lit, LitStr, Path, Receiver, Signature, Token, Type, TypeReference, Variadic,
};

use crate::{
    options::KNOWN,
    words::{choices, example, known_names, list, nearest},
};

fn fault(place: impl ToTokens, message: impl Display) -> Error {
    Error::new_spanned(place, message)
}

// The options' names.

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
    } else if let Some(example) = nearest(&written, KNOWN.map(|(known, _)| known))
        .and_then(|known| KNOWN.iter().find(|(name, _)| *name == known))
        .map(|(_, example)| example)
    {
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
        "header" | "header_name" | "name" | "namespace" | "prefix" | "credentials" | "max_response" | "max_size"
        | "store" | "backend" | "outage" | "fail_open" | "journal" | "redis" => {
            "this is one choice for the whole service: set it on `Idempotency::builder(store)`"
        }
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

// Durations.

pub(crate) fn bare_number(option: &str, number: impl ToTokens, with_unit: &str) -> Error {
    fault(number, format!("a duration needs a unit, in a string; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn no_unit(option: &str, text: &LitStr, with_unit: &str) -> Error {
    fault(text, format!("a duration needs a unit; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn negative_duration(option: &str, value: impl ToTokens) -> Error {
    let example = example(option);
    fault(value, format!("a duration cannot be negative; write it like `{example}`"))
}

pub(crate) fn zero_duration(option: &str, text: &LitStr) -> Error {
    let help = match option {
        "wait" => "leave `wait` out: then a duplicate does not wait",
        "lease" => r#"write `lease = "30s"`"#,
        _ => r#"write `ttl = "24h"`, or leave the attribute out where nothing is to be replayed"#,
    };
    fault(text, format!("`{option}` must be longer than nothing; {help}"))
}

pub(crate) fn lease_too_short(place: Span) -> Error {
    Error::new(place, "a lease is renewed at a third of it, which takes time; write `lease = \"100ms\"` or longer")
}

pub(crate) fn lease_too_long(place: Span) -> Error {
    Error::new(
        place,
        "a lease is renewed while the handler runs, and need not be as long as the handler; write `lease = \"30s\"`, \
         and at most a day",
    )
}

pub(crate) fn too_long(option: &str, text: &LitStr) -> Error {
    fault(text, format!("`{option}` is longer than a hundred years; write `{option} = \"24h\"`, or `\"30days\"`"))
}

pub(crate) fn too_fine(option: &str, text: &LitStr) -> Error {
    fault(text, format!("stores count in milliseconds; write a whole number of them, as in `{option} = \"1500ms\"`"))
}

pub(crate) fn unreadable_duration(option: &str, text: &LitStr, error: &impl Display) -> Error {
    fault(
        text,
        format!(
            "this is no duration ({error}); write it like `{option} = \"90s\"`, `\"15m\"`, `\"24h\"` or `\"1h 30m\"`"
        ),
    )
}

pub(crate) fn not_a_duration(option: &str, value: &Expr) -> Error {
    fault(
        value,
        format!(
            "`{option}` takes a string such as `\"90s\"`, or the name of a constant: `const LIMIT: Duration = …;` and `{option} = LIMIT`"
        ),
    )
}

pub(crate) fn ttl_below_default_lease(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a ttl of {} is shorter than the lease, which is {} by default: a claim would be forgotten while its handler runs; write a longer `ttl`, or add `lease = \"{}\"`",
            format_duration(ttl),
            format_duration(lease),
            format_duration(ttl),
        ),
    )
}

pub(crate) fn ttl_below_lease(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a ttl of {} is shorter than the lease of {}: a claim would be forgotten while its handler runs; write `ttl = \"{}\"` or longer",
            format_duration(ttl),
            format_duration(lease),
            format_duration(lease),
        ),
    )
}

pub(crate) fn lease_above_default_ttl(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a lease of {} is longer than the ttl, which is {} by default; write a shorter `lease`, or add `ttl = \"{}\"`",
            format_duration(lease),
            format_duration(ttl),
            format_duration(lease),
        ),
    )
}

pub(crate) fn wait_above_ttl(place: Span, wait: Duration, ttl: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a wait of {} is longer than the ttl of {}: what it waits for would be forgotten; write a `wait` of some seconds, such as `wait = \"5s\"`",
            format_duration(wait),
            format_duration(ttl),
        ),
    )
}

// Words, flags and paths.

pub(crate) fn unknown_word(name: &str, words: &[(&'static str, &'static str)], written: &LitStr) -> Error {
    let text = written.value();
    let help = nearest(&text, words.iter().map(|(word, _)| *word)).map_or_else(
        || format!("write {}", choices(name, words)),
        |near| format!("did you mean `{name} = \"{near}\"`?"),
    );
    fault(written, format!("`{name}` knows no `\"{text}\"`; {help}"))
}

pub(crate) fn unquoted_word(name: &str, words: &[(&'static str, &'static str)], value: &Expr, written: &str) -> Error {
    let help = nearest(written, words.iter().map(|(word, _)| *word))
        .map_or_else(|| choices(name, words), |near| format!("`{name} = \"{near}\"`"));
    fault(value, format!("`{name}` takes a word in quotes; write {help}"))
}

pub(crate) fn not_a_word(name: &str, words: &[(&'static str, &'static str)], value: &Expr) -> Error {
    fault(value, format!("`{name}` takes a word in quotes; write {}", choices(name, words)))
}

pub(crate) fn not_a_bool(name: &str, value: &Expr) -> Error {
    fault(value, format!("`{name}` is yes or no; write `{name} = false` or `{name} = true`"))
}

pub(crate) fn not_a_path(value: &Expr) -> Error {
    fault(value, "`crate` takes a path without quotes; write `crate = path::to::idempotent_runtime`")
}

// The scope.

pub(crate) fn scope_without_argument(expression: &Expr, names: &BTreeSet<String>, bindings: &[String]) -> Error {
    let near = names.iter().find_map(|name| nearest(name, bindings.iter().map(String::as_str)));
    let help = match (near, bindings) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => {
            "give one a name first, as in `Extension(user): Extension<User>` and `scope = user.id`".to_owned()
        }
        (None, bindings) => format!("it may use {}", list(bindings.iter().map(String::as_str))),
    };
    fault(expression, format!("`scope` names none of the handler's arguments, so all callers would share it; {help}"))
}

// The handler.

pub(crate) fn not_a_function(item: &TokenStream, error: &Error) -> Error {
    let tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    let keyword = tokens.iter().find(|token| {
        ["struct", "enum", "union", "impl", "mod", "trait", "const", "static", "type", "use", "macro_rules", "fn"]
            .iter()
            .any(|keyword| token.to_string() == *keyword)
    });
    match keyword {
        Some(TokenTree::Ident(keyword)) if keyword != "fn" && keyword != "const" => fault(
            keyword,
            format!(
                "`#[idempotent]` goes on an `async fn`; take it off this `{keyword}`, and put it on each handler that \
                 is to be protected"
            ),
        ),
        _ if tokens.iter().any(|token| matches!(token, TokenTree::Ident(ident) if ident == "fn")) => error.clone(),
        _ => fault(item, "`#[idempotent]` goes on an `async fn`; move what stands here into one"),
    }
}

pub(crate) fn no_body(sig: &Signature, found: &TokenTree) -> Error {
    fault(
        TokenStream::from_iter([sig.to_token_stream(), found.to_token_stream()]),
        "`#[idempotent]` wraps a body, and this function has none; put the attribute on the function that implements it",
    )
}

pub(crate) fn second_attribute(path: &Path) -> Error {
    fault(path, "a handler takes one `#[idempotent]`; merge the options into one")
}

pub(crate) fn not_async(token: Token![fn]) -> Error {
    fault(token, "a handler is asynchronous; write `async fn`")
}

pub(crate) fn qualified(place: impl ToTokens, word: &str) -> Error {
    fault(place, format!("a handler cannot be `{word}`; write `async fn`"))
}

pub(crate) fn variadic(variadic: &Variadic) -> Error {
    fault(variadic, "a handler has a fixed number of arguments; remove `...`")
}

pub(crate) fn receiver(receiver: &Receiver) -> Error {
    fault(receiver, "a handler has no `self`; take what it needs as an argument, such as `State(app): State<App>`")
}

pub(crate) fn self_type(place: &Ident) -> Error {
    fault(place, "`Self` has no meaning inside the wrapper that `#[idempotent]` writes; name the type")
}

pub(crate) fn too_many_arguments(first_too_many: &FnArg, count: usize) -> Error {
    fault(
        first_too_many,
        format!(
            "axum takes 16 arguments, and here are {count}; put several into one, as in `(State(app), Path(id)): (State<App>, Path<u64>)`",
        ),
    )
}

pub(crate) fn borrowed_argument(ty: &TypeReference) -> Error {
    let owned = match ty.elem.to_token_stream().to_string().as_str() {
        "str" => "String".to_owned(),
        other => other.to_owned(),
    };
    fault(ty, format!("a handler owns its arguments; write `{owned}`"))
}

pub(crate) fn conditional_argument(cfg: &Attribute) -> Error {
    fault(cfg, "an argument cannot be conditional here; put the `cfg` on two whole handlers")
}

pub(crate) fn body_before_last(ty: &Type, name: &str) -> Error {
    fault(
        ty,
        format!(
            "`{name}` reads the request's body, which only the last argument can; move it to the end, or give it another name if it is an extractor of your own that leaves the body alone",
        ),
    )
}

pub(crate) fn endless_response(name: &Ident) -> Error {
    fault(
        name,
        format!(
            "`{name}` goes on for as long as the client listens, so there is no response to store and replay; remove `#[idempotent]` here, and protect the request that starts the work instead",
        ),
    )
}
