//! The `#[idempotent]` attribute. Use it through the `idempotent-runtime` crate.

mod attributes;
mod errors;
#[cfg(test)]
mod expansions;
mod handler;
mod messages;
mod options;
mod render;
#[cfg(test)]
mod snapshots;
mod table;
mod time;
mod validate;
mod variables;

use proc_macro2::TokenStream;

use crate::{errors::Errors, handler::Handler, options::Options};

#[doc = include_str!("../docs/idempotent.md")]
#[proc_macro_attribute]
pub fn idempotent(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(&options.into(), &item.into()).into()
}

/// Parses and validates the attribute and the function, and renders the expansion.
///
/// If anything is wrong, the expansion is the user's item, after all errors. The function then still exists, so the
/// compiler does not report each of its uses as well.
fn expand(options: &TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = Options::parse(options.clone(), &mut errors);
    let Some(handler) = Handler::parse(item, &mut errors) else {
        let tokens = errors.with_item(&[], item);
        // An expression must be replaced by one expression. A block is one.
        let is_expression = syn::parse2::<syn::Expr>(item.clone()).is_ok();
        return if is_expression {
            quote::quote! { { #tokens } }
        } else {
            tokens
        };
    };
    validate::validate(&parsed, &handler, &mut errors);
    if errors.any() {
        return errors.with_item(&handler.attributes.conditions, &handler.without_the_attribute());
    }
    if handler.has_hoisted() { render::hoist(&handler, &parsed, options) } else { render::render(&parsed, &handler) }
}
