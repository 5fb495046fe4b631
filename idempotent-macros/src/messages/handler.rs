//! Errors about the function below the attribute.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Error, FnArg, Ident, Path, Receiver, Signature, Token, Type, TypeReference, Variadic};

use super::error_at;

pub(crate) fn not_a_function(item: &TokenStream, error: &Error) -> Error {
    let tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    let keyword = tokens.iter().find(|token| {
        ["struct", "enum", "union", "impl", "mod", "trait", "const", "static", "type", "use", "macro_rules", "fn"]
            .iter()
            .any(|keyword| token.to_string() == *keyword)
    });
    match keyword {
        Some(TokenTree::Ident(keyword)) if keyword != "fn" && keyword != "const" => error_at(
            keyword,
            format!(
                "`#[idempotent]` goes on an `async fn`; remove it from this `{keyword}`, and put it on each handler that \
                 should be protected"
            ),
        ),
        _ if tokens.iter().any(|token| matches!(token, TokenTree::Ident(ident) if ident == "fn")) => error.clone(),
        _ => error_at(item, "`#[idempotent]` goes on an `async fn`; move this code into one"),
    }
}

pub(crate) fn no_body(sig: &Signature, found: &TokenTree) -> Error {
    error_at(
        TokenStream::from_iter([sig.to_token_stream(), found.to_token_stream()]),
        "`#[idempotent]` needs a function with a body, and this one has none; put the attribute on the function that implements it",
    )
}

pub(crate) fn second_attribute(path: &Path) -> Error {
    error_at(path, "a handler takes one `#[idempotent]`; merge the options into one")
}

pub(crate) fn not_async(token: Token![fn]) -> Error {
    error_at(token, "a handler is asynchronous; write `async fn`")
}

pub(crate) fn qualified(place: impl ToTokens, word: &str) -> Error {
    error_at(place, format!("a handler cannot be `{word}`; write `async fn`"))
}

pub(crate) fn variadic(variadic: &Variadic) -> Error {
    error_at(variadic, "a handler has a fixed number of arguments; remove `...`")
}

pub(crate) fn receiver(receiver: &Receiver) -> Error {
    error_at(receiver, "a handler has no `self`; take what it needs as an argument, such as `State(app): State<App>`")
}

/// A macro below `#[idempotent]` gets the function as an item inside the wrapper, where `Self` has no meaning.
pub(crate) fn self_below_a_macro(attribute: &Path) -> Error {
    let name = attribute.to_token_stream().to_string().replace(' ', "");
    error_at(
        attribute,
        format!("a handler that names `Self` cannot have `#[{name}]` below `#[idempotent]`; move it above"),
    )
}

pub(crate) fn async_trait(place: &Ident) -> Error {
    error_at(
        place,
        "`#[idempotent]` goes on a function that a router takes, and not on a function of an `#[async_trait]`; put it on a \
         handler that calls this function",
    )
}

pub(crate) fn middleware(next: &Type) -> Error {
    error_at(
        next,
        "this is a middleware, and `#[idempotent]` goes on a handler; put it on each handler that should be protected",
    )
}

pub(crate) fn too_many_arguments(first_too_many: &FnArg, count: usize) -> Error {
    error_at(
        first_too_many,
        format!(
            "axum accepts at most 16 arguments, and here are {count}; put several into one, as in `(State(app), Path(id)): (State<App>, Path<u64>)`",
        ),
    )
}

pub(crate) fn borrowed_argument(ty: &TypeReference) -> Error {
    let owned = match ty.elem.to_token_stream().to_string().as_str() {
        "str" => "String".to_owned(),
        other => other.to_owned(),
    };
    error_at(ty, format!("a handler owns its arguments; write `{owned}`"))
}

pub(crate) fn borrowing_argument(place: impl ToTokens) -> Error {
    error_at(
        place,
        "a handler owns its arguments, and this one borrows; write an owned type, such as `String` for `Cow<'_, str>`",
    )
}

pub(crate) fn conditional_argument(cfg: &Attribute) -> Error {
    error_at(cfg, "an argument cannot have a `cfg` here; write two handlers, and put the `cfg` on them")
}

pub(crate) fn event_stream(sse: &Ident) -> Error {
    error_at(
        sse,
        "a stream of events has no end, so it cannot be stored, and each retry would get 409; let this handler start the work \
         and return its id, and send the events from a handler without `#[idempotent]`",
    )
}
