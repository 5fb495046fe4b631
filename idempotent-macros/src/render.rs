//! The expansion: the only place that quotes code.
//!
//! No logic goes into it. What a handler's expansion says is who is called with what; how a key is
//! claimed and a response replayed is for the runtime to know.

mod debug_handler;
mod names;
mod policy;
mod runtime;
mod scoped;
mod signature;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::quote;

use self::{names::Names, runtime::Runtime};
use crate::{generics, handler::Handler, options::Options};

/// Renders a wrapper around the function, which itself stays as it came:
///
/// ```text
/// #[idempotent(ttl = "24h")]
/// pub async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<Json<Payment>, Error> { … }
/// ```
/// becomes
/// ```text
/// pub async fn pay(app: State<App>, request: Captured<Json<New>>) -> Response {
///     async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<Json<Payment>, Error> { … }
///     {
///         static POLICY: Policy = Policy::new("pay").ttl(Duration::from_secs(86_400)).checked();
///         let handler = pay;
///         request.protect(&POLICY, move |new| handler(app, new)).await
///     }
/// }
/// ```
/// with every path of ours spelled from `::idempotent_runtime` on.
pub(crate) fn render(options: &Options, handler: &Handler) -> TokenStream {
    let runtime = Runtime::of(options);
    let names = Names::of(handler, options);
    let Handler { attributes, vis, body, .. } = handler;

    let outward = &attributes.wrapper;
    let inward = &attributes.function;
    let (debug_handler, store_check) = debug_handler::render(handler, &runtime).unzip();
    let wrapper = signature::of_wrapper(handler, &names, &runtime);
    let function = signature::of_function(handler, options);
    let scoped = scoped::render(options, handler, &names, &runtime);
    let policy = policy::render(options, handler, &runtime);
    let policy_type = runtime.private("Policy");
    let Names { request, policy: policy_name, .. } = &names;
    let protect = Ident::new("protect", handler.response_place());
    let (value, run) = run(handler, &names);

    // The static stands in a block of its own, where neither the user's function nor the scope's
    // expression can see it: items have no hygiene.
    let content = quote! {
        #(#inward)*
        #function #body
        #store_check
        #scoped
        {
            static #policy_name: #policy_type = #policy;
            #value
            #request.#protect(&#policy_name, #run).await
        }
    };
    let content = braced(content, body.span());
    quote! {
        #(#outward)*
        #debug_handler
        #vis #wrapper #content
    }
}

/// Puts the attributes that must see the user's signature above ours, which is then expanded anew:
///
/// `#[idempotent] #[utoipa::path(post, …)]` → `#[utoipa::path(post, …)] #[idempotent]`
pub(crate) fn hoist(handler: &Handler, options: &Options, written: &TokenStream) -> TokenStream {
    let ours = Runtime::of(options).public("idempotent");
    let Handler { attributes, vis, sig, body } = handler;
    let hoisted = &attributes.hoisted;
    let others = attributes.without_hoisted();
    quote! {
        #(#hoisted)*
        #[#ours(#written)]
        #(#others)*
        #vis #sig #body
    }
}

/// What runs when the claim is made: the user's function, with its arguments.
///
/// It is named as a value before it is called, for else clippy takes an `async fn` without an
/// `.await` for a mistake. Of a function that axum calls it would not say so.
fn run(handler: &Handler, names: &Names) -> (Option<TokenStream>, TokenStream) {
    let ident = &handler.sig.ident;
    let generics = generics::arguments(&handler.sig.generics);
    let turbofish = (!generics.is_empty()).then(|| quote! { ::<#(#generics),*> });
    let function = &names.handler;
    let bind = quote! { let #function = #ident #turbofish; };
    match names.arguments.as_slice() {
        [] => (Some(bind), quote! { move |()| #function() }),
        [_only] => (None, quote! { #ident #turbofish }),
        arguments @ [.., last] => (Some(bind), quote! { move |#last| #function(#(#arguments),*) }),
    }
}

/// Braces with the user's span: see `signature::of_wrapper`.
fn braced(content: TokenStream, place: Span) -> Group {
    let mut group = Group::new(Delimiter::Brace, content);
    group.set_span(place);
    group
}
