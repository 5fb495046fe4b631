//! The expansion: the only place that quotes code.
//!
//! No logic goes into it. What a handler's expansion says is who is called with what; how a key is
//! claimed and a response replayed is for the runtime to know.

mod described;
mod function;
mod identity;
mod names;
mod policy;
mod runtime;
mod signature;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use self::{function::Function, names::Names, runtime::Runtime};
use crate::{
    attributes::DebugState,
    handler::Handler,
    options::{Options, Store},
};

/// Renders a wrapper around the function, whose signature and body stay as they came:
///
/// ```text
/// #[idempotent(ttl = "24h")]
/// pub async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<Json<Payment>, Error> { … }
/// ```
/// becomes
/// ```text
/// pub fn pay(app: State<App>, __request: Captured<Json<New>>) -> Protected<impl Future<Output = Response>> {
///     static __POLICY: Policy = Policy::new("pay").ttl(Duration::from_secs(86_400)).checked();
///     let __handler = async |State(app): State<App>, Json(new): Json<New>| -> Result<Json<Payment>, Error> { … };
///     return __request.protect(&__POLICY, move |new| __handler(app, new));
/// }
/// ```
/// with every path of ours spelled from `::idempotent_runtime` on. Where the handler's own options say how the request is
/// read, the wrapper says it first:
/// ```text
/// pub fn hook(__request: Deferred<Json<Event>>) -> ProtectedLater<Json<Event>, impl Protect<Json<Event>, …>> {
///     static __POLICY: Policy = Policy::new("hook").header("webhook-id").checked();
///     return __request.read(&__POLICY, move |__request| {
///         return __request.protect(&__POLICY, async |Json(event): Json<Event>| -> StatusCode { … });
///     });
/// }
/// ```
pub(crate) fn render(options: &Options, handler: &Handler) -> TokenStream {
    let runtime = Runtime::of(options);
    let names = Names::of(handler);
    let Handler { attributes, vis, body, .. } = handler;

    let outward = &attributes.wrapper;
    let store_checks = attributes.states.iter().map(|state| store_check(state, options, &runtime));
    let wrapper = signature::render(handler, options, &names, &runtime);
    let (policy, policy_reference) = policy::render(options, handler, &names, &runtime);
    let request = &names.request;

    let identity = identity::render(options, handler, &names, &runtime);
    let Function { items, before, run } = function::render(options, handler, &names);
    // What is wrong with the response is shown there, and twice if it came from two places.
    let place = Span::call_site().located_at(handler.response_place());
    let protect = Ident::new("protect", place);
    let call = quote_spanned! {place=> #request.#protect(#policy_reference, #run) };
    // The `return`s are for those who turned `clippy::implicit_return` on: it sees the braces, which are the user's.
    let protected = if options.defers_reading() {
        let store = store(options);
        quote! { return #request #store.read(#policy_reference, move |#request| { #identity #before return #call; }); }
    } else {
        quote! { #identity #before return #call; }
    };
    let content = quote! {
        #items
        #(#store_checks)*
        #policy
        #protected
    };
    let content = braced(content, body.span());
    quote! {
        #(#outward)*
        #vis #wrapper #content
    }
}

/// Puts the attributes that must go above ours there, and ours is then expanded anew:
///
/// `#[idempotent] #[utoipa::path(post, …)]` → `#[utoipa::path(post, …)] #[idempotent]`
///
/// What `utoipa::path` describes gains what the options say, if that feature is on.
pub(crate) fn hoist(handler: &Handler, options: &Options, written: &TokenStream) -> TokenStream {
    let runtime = Runtime::of(options);
    let ours = runtime.public("idempotent");
    let Handler { attributes, vis, sig, body } = handler;
    let others = attributes.without_hoisted(handler.names_self());
    let (hoisted, descriptions) = described::render(handler, options, &runtime);
    quote! {
        #(#hoisted)*
        #[#ours(#written)]
        #(#others)*
        #vis #sig #body
        #descriptions
    }
}

/// `.with_store(&EXPR)` of `store = EXPR`.
fn store(options: &Options) -> Option<TokenStream> {
    let Some(Store::Value(expression)) = &options.store else { return None };
    let place = expression.span();
    let argument = quote_spanned! {place=> &#expression };
    Some(quote! { .with_store(#argument) })
}

/// Says at `#[debug_handler(state = App)]` that `App` has no store.
fn store_check(state: &DebugState, options: &Options, runtime: &Runtime<'_>) -> Option<TokenStream> {
    let DebugState { condition, state } = state;
    if options.store.is_some() {
        return None;
    }
    let cfg = condition.as_ref().map(|condition| quote! { #[cfg(#condition)] });
    let place = state.span();
    let offers = runtime.private_at("assert_state_offers_idempotency", place);
    let call = quote_spanned! {place=> #offers::<#state>() };
    Some(quote! { #cfg const _: () = #call; })
}

/// Braces with the user's span: see `signature::render`.
fn braced(content: TokenStream, place: Span) -> Group {
    let mut group = Group::new(Delimiter::Brace, content);
    group.set_span(place);
    group
}
