//! Renders the expansion. Only this folder quotes code.
//!
//! The expansion contains no logic. It passes the policy, the arguments and the function to the runtime. The runtime claims
//! the key and replays the response.

mod checks;
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
    handler::Handler,
    options::{Options, Store},
};

/// Renders a wrapper around the user's function:
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
/// Here the paths are shortened. In the expansion, each path to the runtime begins with `::idempotent_runtime`.
///
/// If an option decides how the request is read, such as `header`, the wrapper passes the policy to the runtime first. The
/// last argument is extracted after that:
/// ```text
/// pub fn hook(__request: Deferred<Json<Event>>) -> ProtectedLater<Json<Event>, impl Protect<Json<Event>, …>> {
///     static __POLICY: Policy = Policy::new("hook").header("webhook-id").checked();
///     return __request.read(&__POLICY, move |__request| {
///         return __request.protect(&__POLICY, async |Json(event): Json<Event>| -> StatusCode { … });
///     });
/// }
/// ```
pub(crate) fn render(options: &Options, handler: &Handler) -> TokenStream {
    let runtime = Runtime::new(options);
    let names = Names::new(handler);
    let Handler { attributes, vis, body, .. } = handler;

    let wrapper_attributes = &attributes.wrapper;
    let wrapper = signature::render(handler, options, &names, &runtime);
    let (policy, policy_reference) = policy::render(options, handler, &names, &runtime);
    let request = &names.request;

    let identity = identity::render(options, handler, &names, &runtime);
    let Function { items, before, run } = function::render(options, handler, &names);
    // The compiler reports a wrong response at these tokens. They have the same place as those in the signature, or it
    // would report the response twice.
    let place = Span::call_site().located_at(handler.response_place());
    let protect = Ident::new("protect", place);
    let call = quote_spanned! {place=> #request.#protect(#policy_reference, #run) };
    // `return` is written for users who have turned on `clippy::implicit_return`. The lint checks the wrapper's body,
    // because its braces have the user's span.
    let protected = if options.defers_reading() {
        let store = store(options);
        quote! { return #request #store.read(#policy_reference, move |#request| { #identity #before return #call; }); }
    } else {
        quote! { #identity #before return #call; }
    };
    let checks = checks::render(options, handler, &runtime);
    let content = quote! {
        #items
        #checks
        #policy
        #protected
    };
    let content = braced(content, body.span());
    let of_no_trait = handler.may_be_of_a_trait().then(|| checks::of_no_trait(handler));
    quote! {
        #of_no_trait
        #(#wrapper_attributes)*
        #vis #wrapper #content
    }
}

/// Moves attributes above `#[idempotent]`. The compiler runs them first, and then expands `#[idempotent]` again:
///
/// `#[idempotent] #[utoipa::path(post, …)]` → `#[utoipa::path(post, …)] #[idempotent]`
///
/// With the feature `utoipa`, the options are added to what `utoipa::path` describes.
pub(crate) fn hoist(handler: &Handler, options: &Options, written: &TokenStream) -> TokenStream {
    let runtime = Runtime::new(options);
    let idempotent = runtime.public("idempotent");
    let Handler { attributes, vis, sig, body } = handler;
    let others = attributes.without_hoisted(handler.names_self());
    let (hoisted, descriptions) = described::render(handler, options, &runtime);
    quote! {
        #(#hoisted)*
        #[#idempotent(#written)]
        #(#others)*
        #vis #sig #body
        #descriptions
    }
}

/// `store = EXPR` → `.with_store(&EXPR)`
fn store(options: &Options) -> Option<TokenStream> {
    let Some(Store::Value(expression)) = &options.store else { return None };
    let place = expression.span();
    let argument = quote_spanned! {place=> &#expression };
    Some(quote! { .with_store(#argument) })
}

/// Puts the content into braces with the user's span. `signature::render` says why.
fn braced(content: TokenStream, place: Span) -> Group {
    let mut group = Group::new(Delimiter::Brace, content);
    group.set_span(place);
    group
}
