//! Renders the options whose value is an expression over the arguments: `scope`, `key` and `fingerprint`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned as _};

use super::{
    names::{Names, ours},
    runtime::Runtime,
};
use crate::{handler::Handler, options::Options, variables};

/// `scope = user.id, key = event.id` →
/// ```text
/// let __request = {
///     let Extension(user) = &user;
///     let Json(event) = __request.last();
///     let (__scope, __key) = (scope(&user.id), key(&event.id));
///     __request.scoped(__scope).keyed(__key)
/// };
/// ```
/// The expressions are evaluated before the handler runs, so they see the arguments unchanged. Only the arguments that an
/// expression names are borrowed, each through its own pattern.
pub(super) fn render(
    options: &Options,
    handler: &Handler,
    names: &Names,
    runtime: &Runtime<'_>,
) -> Option<TokenStream> {
    let request = &names.request;
    let mut values = TokenStream::new();
    let mut given = TokenStream::new();
    for (option, expression, _) in options.expressions() {
        let (value, method) = match option {
            "scope" => (ours("__scope"), "scoped"),
            "key" => (ours("__key"), "keyed"),
            _ => (ours("__fingerprint"), "fingerprinted"),
        };
        // The compiler reports a value of a wrong type at the user's expression.
        let place = expression.span();
        let function = runtime.private_at(option, place);
        let method = Ident::new(method, proc_macro2::Span::call_site());
        let call = quote_spanned! {place=> #function(&#expression) };
        values.extend(quote! { let #value = #call; });
        given.extend(quote! { .#method(#value) });
    }
    if given.is_empty() {
        return None;
    }
    let (borrows, lint) = borrows(options, handler, names);
    Some(quote! {
        #lint
        let #request = {
            #borrows
            #values
            #request #given
        };
    })
}

/// Borrows the arguments that the expressions name. If their patterns bind more names, the second value allows unused
/// variables.
fn borrows(options: &Options, handler: &Handler, names: &Names) -> (TokenStream, Option<TokenStream>) {
    let request = &names.request;
    let wanted = variables::wanted(options.expressions().map(|(_, expression, _)| expression));
    let last = names.arguments.len().saturating_sub(1);
    let mut borrows = TokenStream::new();
    let mut bound = Vec::new();
    for (at, (argument, name)) in handler.arguments().zip(&names.arguments).enumerate() {
        let here = variables::bound(&argument.pat);
        if here.iter().any(|name| wanted.contains(name)) {
            let pattern = variables::borrowed(&argument.pat);
            let value = if at == last {
                quote! { #request.last() }
            } else {
                quote! { &#name }
            };
            // Without these, a user who has turned on such a lint gets it at the pattern of the argument.
            borrows.extend(quote! { #[allow(clippy::pattern_type_mismatch)] let #pattern = #value; });
            for name in variables::behind_references(&argument.pat) {
                borrows.extend(quote! { #[allow(clippy::shadow_same)] let #name = *#name; });
            }
            bound.extend(here);
        }
    }
    let perhaps_unused = |name: &String| !wanted.contains(name) || handler.is_ambiguous(name);
    let lint = bound.iter().any(perhaps_unused).then(|| quote! { #[allow(unused_variables)] });
    (borrows, lint)
}
