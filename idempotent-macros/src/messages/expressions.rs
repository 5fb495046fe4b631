//! What is wrong with an option's expression over the handler's arguments.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{Error, Expr, Ident};

use super::place::fault;
use crate::table::{Word, choices, list, nearest};

/// `scope`, `key` and `fingerprint` would be the same for all requests.
pub(crate) fn names_no_argument(
    option: &str,
    expression: &Expr,
    names: &BTreeSet<String>,
    bindings: &[String],
    words: &[Word],
) -> Error {
    if let Some(word) = names.iter().find_map(|name| nearest(name, words.iter().map(|(word, _)| *word))) {
        return fault(
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
            "scope" => "give one a name first, as in `Extension(user): Extension<User>` and `scope = user.id`",
            "key" => "give one a name first, as in `Json(event): Json<Event>` and `key = event.id`",
            _ => "give one a name first, as in `Json(order): Json<Order>` and `fingerprint = order.id`",
        }
        .to_owned(),
        (None, bindings) => format!("it may use {}", list(bindings.iter().map(String::as_str))),
    };
    let consequence = match option {
        "scope" => "all callers would share it",
        "key" => "all requests would have one key",
        _ => "all requests would look the same",
    };
    let words = if words.is_empty() { String::new() } else { format!("; or write {}", choices(option, words)) };
    fault(expression, format!("`{option}` names none of the handler's arguments, so {consequence}; {help}{words}"))
}

/// `scope = claim.derive_key("x")`.
pub(crate) fn uses_the_claim(option: &str, binding: &Ident) -> Error {
    fault(
        binding,
        format!(
            "the claim is made from `{option}`, so it is still empty here; write `{option}` with what the request or the \
             caller brings, such as `{}`",
            match option {
                "scope" => "scope = user.id",
                "key" => "key = event.id",
                _ => "fingerprint = order.id",
            }
        ),
    )
}

pub(crate) fn store_in_quotes(value: impl ToTokens) -> Error {
    fault(
        value,
        "`store` takes an expression without quotes; write `store = extension`, or an `Idempotency` of yours such as \
         `store = IDEMPOTENCY`",
    )
}
