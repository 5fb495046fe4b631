//! The `scope` option: whose key it is.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{names::Names, runtime::Runtime};
use crate::{handler::Handler, options::Options, scope};

/// `scope = user.id` →
/// `let request = { let Extension(user) = &user; let scope = scope(&user.id); request.scoped(scope) };`
///
/// Only the arguments that the expression names are borrowed, each through its own pattern.
pub(super) fn render(
    options: &Options,
    handler: &Handler,
    names: &Names,
    runtime: &Runtime<'_>,
) -> Option<TokenStream> {
    let expression = options.scope.as_ref()?;
    let wanted = scope::names(expression);
    let last = names.arguments.len().saturating_sub(1);
    let Names { request, scope, .. } = names;

    let mut borrows = TokenStream::new();
    let mut bound = Vec::new();
    for (at, (argument, name)) in handler.arguments().zip(&names.arguments).enumerate() {
        let here = scope::bound(&argument.pat);
        if here.iter().any(|name| wanted.contains(name)) {
            let pattern = scope::borrowed(&argument.pat);
            let value = if at == last {
                quote! { #request.last() }
            } else {
                quote! { &#name }
            };
            borrows.extend(quote! { let #pattern = #value; });
            bound.extend(here);
        }
    }
    // A pattern may bind more than the expression needs.
    let perhaps_unused = |name: &String| !wanted.contains(name) || handler.is_ambiguous(name);
    let lint = bound.iter().any(perhaps_unused).then(|| quote! { #[allow(unused_variables)] });

    // At the user's expression, so that what is no `Display` is reported there.
    let place = expression.span();
    let function = runtime.private_at("scope", place);
    let call = quote_spanned! {place=> #function(&#expression) };
    Some(quote! {
        #lint
        let #request = {
            #borrows
            let #scope = #call;
            #request.scoped(#scope)
        };
    })
}
