//! Errors about an option's expression over the handler's arguments.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{Error, Expr, Ident};

use super::error_at;
use crate::table::{Word, choices, list, nearest};

/// The expression of `scope`, `key` or `fingerprint` names no argument, so its value would be the same for all requests.
pub(crate) fn names_no_argument(
    option: &str,
    expression: &Expr,
    names: &BTreeSet<String>,
    bindings: &[String],
    words: &[Word],
) -> Error {
    if let Some(word) = names.iter().find_map(|name| nearest(name, words.iter().map(|(word, _)| *word))) {
        return error_at(
            expression,
            format!(
                "`{option}` takes a word in quotes, or an expression over the arguments; write `{option} = \"{word}\"`"
            ),
        );
    }
    let near = names.iter().find_map(|name| nearest(name, bindings.iter().map(String::as_str)));
    let help = match (near, bindings) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => match option {
            "scope" => "name an argument, as in `Extension(user): Extension<User>` and `scope = user.id`",
            "key" => "name an argument, as in `Json(event): Json<Event>` and `key = event.id`",
            _ => "name an argument, as in `Json(order): Json<Order>` and `fingerprint = order.id`",
        }
        .to_owned(),
        (None, bindings) => format!("it can name {}", list(bindings.iter().map(String::as_str))),
    };
    let consequence = match option {
        "scope" => "all callers would have the same scope",
        "key" => "all requests would have the same key",
        _ => "all requests would have the same fingerprint",
    };
    let words = if words.is_empty() { String::new() } else { format!("; or write {}", choices(option, words)) };
    error_at(expression, format!("`{option}` names none of the handler's arguments, so {consequence}; {help}{words}"))
}

/// The expression calls a method of the claim, as in `scope = claim.derive_key("x")`.
pub(crate) fn uses_the_claim(option: &str, binding: &Ident) -> Error {
    error_at(
        binding,
        format!(
            "the claim is made after `{option}` is evaluated, so it is still empty here; use a value of the request or of the \
             caller, such as `{}`",
            match option {
                "scope" => "scope = user.id",
                "key" => "key = event.id",
                _ => "fingerprint = order.id",
            }
        ),
    )
}

pub(crate) fn store_in_quotes(value: impl ToTokens) -> Error {
    error_at(
        value,
        "`store` takes an expression without quotes; write `store = extension`, or an `Idempotency` of yours such as \
         `store = IDEMPOTENCY`",
    )
}
