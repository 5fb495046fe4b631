//! The two signatures: the wrapper's, and that of the user's function inside it.

use proc_macro2::TokenStream;
use quote::{TokenStreamExt as _, quote, quote_spanned};
use syn::{FnArg, PatType, Signature, parse_quote, spanned::Spanned as _};

use super::{names::Names, runtime::Runtime};
use crate::{generics, handler::Handler, options::Options, scope};

/// `(State(app): State<App>, Json(new): Json<New>) -> Result<…>` →
/// `(app: State<App>, request: Captured<Json<New>>) -> Response`
pub(super) fn of_wrapper(handler: &Handler, names: &Names, runtime: &Runtime<'_>) -> TokenStream {
    let Signature { asyncness, fn_token, ident, generics, paren_token, .. } = &handler.sig;
    let request = &names.request;

    let mut parameters: Vec<TokenStream> =
        (handler.arguments().zip(&names.arguments)).map(|(PatType { ty, .. }, name)| quote! { #name: #ty }).collect();
    parameters.pop();
    parameters.push(if let Some(PatType { ty, .. }) = handler.arguments().last() {
        let captured = runtime.private_at("Captured", ty.span());
        quote! { #request: #captured<#ty> }
    } else {
        let captured = runtime.private("Captured");
        quote! { #request: #captured<()> }
    });

    let generics = generics::outliving(generics);
    let (generics, _, where_clause) = generics.split_for_impl();

    // With the user's spans from the first token to the last: lints about a function as a whole
    // (`dead_code`) are silent when its first or last token is a macro's.
    let place = handler.response_place();
    let response = runtime.private_at("Response", place);
    let output = quote_spanned! {place=> -> #response };

    let mut tokens = quote! { #asyncness #fn_token #ident #generics };
    paren_token.surround(&mut tokens, |tokens| tokens.append_separated(parameters, quote! { , }));
    tokens.extend(quote! { #output #where_clause });
    tokens
}

/// The user's own, to the token; but an argument may be there for the scope alone, which is a use.
pub(super) fn of_function(handler: &Handler, options: &Options) -> Signature {
    let mut sig = handler.sig.clone();
    let Some(expression) = &options.scope else { return sig };
    let in_scope = scope::names(expression);
    let in_body = scope::names_in(handler.body.stream());
    let perhaps_unused = |name: &String| !in_body.contains(name) || handler.is_ambiguous(name);
    for input in &mut sig.inputs {
        if let FnArg::Typed(argument) = input
            && scope::bound(&argument.pat).iter().any(|name| in_scope.contains(name) && perhaps_unused(name))
        {
            argument.attrs.push(parse_quote! { #[allow(unused_variables)] });
        }
    }
    sig
}
