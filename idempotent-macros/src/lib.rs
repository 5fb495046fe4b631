//! The `#[idempotent]` attribute. Use it through the `idempotent-runtime` crate.

mod attributes;
mod diagnostics;
mod faults;
mod generics;
mod handler;
mod options;
mod render;
mod scope;
#[cfg(test)]
mod snapshots;
mod time;
mod validate;
mod words;

use proc_macro2::TokenStream;

use crate::{faults::Faults, handler::Handler, options::Options};

/// Makes an axum handler safe to retry.
#[proc_macro_attribute]
pub fn idempotent(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(&options.into(), &item.into()).into()
}

/// Parse, validate, render.
///
/// When anything is wrong, the user's item is emitted as it came, beside all errors at once: an
/// editor then shows these errors, and not twenty more about a function that has vanished.
fn expand(options: &TokenStream, item: &TokenStream) -> TokenStream {
    let mut faults = Faults::default();
    let parsed = Options::parse(options.clone(), &mut faults);
    let Some(handler) = Handler::parse(item, &mut faults) else {
        return faults.beside(item);
    };
    validate::validate(&parsed, &handler, &mut faults);
    if faults.any() {
        return faults.beside(&handler.without_the_attribute());
    }
    if handler.is_to_be_hoisted() {
        render::hoist(&handler, &parsed, options)
    } else {
        render::render(&parsed, &handler)
    }
}
