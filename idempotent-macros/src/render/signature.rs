//! The wrapper's signature.

use proc_macro2::{Span, TokenStream};
use quote::{TokenStreamExt as _, quote, quote_spanned};
use syn::{PatType, Signature};

use super::{names::Names, runtime::Runtime};
use crate::{
    handler::Handler,
    options::{Options, Store},
};

/// `async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<…>` →
/// `fn pay(app: State<App>, __request: Captured<Json<New>>) -> Protected<impl Future<Output = Response>>`
///
/// The wrapper is a plain function and no `async fn`. For an `async fn`, the compiler checks at the definition that the
/// inner future is `Send`. For a generic handler, this is known only where a router takes it. If the handler waits for
/// something and nothing around it can be generic, the future is `impl Future<…> + Send`. So the compiler names the value that is not `Send` and the `.await`
/// in the handler itself.
pub(super) fn render(handler: &Handler, options: &Options, names: &Names, runtime: &Runtime<'_>) -> TokenStream {
    let Signature { fn_token, ident, generics, paren_token, .. } = &handler.sig;
    let last = handler.arguments().last().map_or_else(|| quote! { () }, |PatType { ty, .. }| quote! { #ty });

    let source = options.store.as_ref().map(|store| {
        let source = match store {
            Store::Extension => "FromExtension",
            Store::Value(_) => "FromExpression",
        };
        let source = runtime.private(source);
        quote! { , #source }
    });
    // The compiler reports a wrong response where the user wrote its type.
    let place = Span::call_site().located_at(handler.response_place());
    let [future, response] = ["Future", "Response"].map(|name| runtime.private_at(name, place));
    let send = handler
        .is_checked_for_send()
        .then(|| runtime.private_at("Send", place))
        .map(|send| quote_spanned! {place=> + #send });
    let handler_future = quote_spanned! {place=> impl #future<Output = #response> #send };
    let (captured, output) = if options.defers_reading() {
        let [deferred, later, protect] = ["Deferred", "ProtectedLater", "Protect"].map(|name| runtime.private(name));
        let protect = quote! { impl #protect<#last, Handler = #handler_future> };
        (deferred, quote! { #later<#last, #protect> })
    } else {
        let protected = runtime.private_at("Protected", place);
        (runtime.private("Captured"), quote_spanned! {place=> #protected<#handler_future> })
    };

    let mut parameters: Vec<TokenStream> =
        (handler.arguments().zip(&names.arguments)).map(|(PatType { ty, .. }, name)| quote! { #name: #ty }).collect();
    parameters.pop();
    let request = &names.request;
    parameters.push(quote! { #request: #captured<#last #source> });

    // The first and the last token of the wrapper have the user's span: `fn` here, and the braces of the body. If they were
    // tokens of the macro, the compiler would not report lints about the whole function, such as `dead_code`.
    let (generics, _, where_clause) = generics.split_for_impl();
    let mut tokens = quote! { #fn_token #ident #generics };
    paren_token.surround(&mut tokens, |tokens| tokens.append_separated(parameters, quote! { , }));
    tokens.extend(quote! { -> #output #where_clause });
    tokens
}
