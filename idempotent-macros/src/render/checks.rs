//! Renders checks that the compiler makes by the types, because an attribute cannot make them. Most handlers have none.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{PatType, Type, spanned::Spanned as _};

use super::runtime::Runtime;
use crate::{attributes::DebugHandler, handler::Handler, options::Options, variables};

/// Renders the statements at the start of the wrapper.
pub(super) fn render(options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> TokenStream {
    let states = handler.attributes.debug.iter().filter_map(|debug| state(debug, options, handler, runtime));
    let mut checks: TokenStream = states.collect();
    checks.extend(places(handler, runtime));
    if handler.is_printed_again() {
        checks.extend(order(options, handler, runtime));
    }
    checks
}

/// Checks that the state of a `#[debug_handler]` offers an `Idempotency`. If it does not, the compiler reports it at the
/// state: at the `App` of `debug_handler(state = App)`, or of the argument `State<App>` from which `debug_handler` infers it.
fn state(debug: &DebugHandler, options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> Option<TokenStream> {
    let DebugHandler { condition, state } = debug;
    if options.store.is_some() {
        return None;
    }
    let state = state.clone().or_else(|| handler.inferred_state().map(ToTokens::to_token_stream))?;
    let cfg = condition.as_ref().map(|condition| quote! { #[cfg(#condition)] });
    let place = state.span();
    let offers = runtime.private_at("assert_state_offers_idempotency", place);
    let call = quote_spanned! {place=> #offers::<#state>() };
    Some(quote! { #cfg const _: () = #call; })
}

/// Warns if `debug_handler` or `utoipa::path` is above the attribute, and checks the state that such a `debug_handler` infers.
///
/// An attribute does not see those above it. But these two leave an item beside the function, of a known name. The names
/// below mean that item if there is one, because the import in the inner block comes first, and otherwise the constants.
fn order(options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> TokenStream {
    let name = &handler.sig.ident;
    let debug_handler = format_ident!("__axum_macros_check_{name}_future");
    let utoipa_path = format_ident!("__path_{name}");
    let [nothing, debug_trait, utoipa_trait] =
        ["NothingAbove", "DebugHandlerAbove", "UtoipaPathAbove"].map(|name| runtime.private(name));
    let state = handler.inferred_state().filter(|_| options.store.is_none()).map(ToTokens::to_token_stream);
    let state = state.unwrap_or_else(|| runtime.public("Idempotency"));
    quote! {
        #[allow(unused_imports, non_upper_case_globals, clippy::wildcard_imports)]
        {
            use #debug_trait as _;
            use #utoipa_trait as _;
            const #debug_handler: #nothing = #nothing;
            const #utoipa_path: #nothing = #nothing;
            {
                use self::*;
                #debug_handler.debug_handler::<#state>();
                #utoipa_path.utoipa_path();
            }
        }
    }
}

/// A constant beside the function, whose name says where the attribute belongs. In a trait's `impl`, the compiler shows the
/// name: it is not a member of the trait. Everywhere else the constant has no effect.
pub(super) fn of_no_trait(handler: &Handler) -> TokenStream {
    let (name, conditions) = (&handler.sig.ident, &handler.attributes.conditions);
    let sentence = format_ident!("IDEMPOTENT_IS_FOR_A_HANDLER_THAT_CALLS_{name}_AND_NOT_FOR_A_FUNCTION_OF_A_TRAIT");
    let place = Span::call_site().located_at(name.span());
    quote_spanned! {place=>
        #(#conditions)*
        #[allow(dead_code, non_upper_case_globals)]
        const #sentence: () = ();
    }
}

/// Checks that no argument before the last one reads the body, if a word in its type looks as if it did. The check is by the
/// type itself: a type of the user may have the name of one of axum's.
fn places(handler: &Handler, runtime: &Runtime<'_>) -> TokenStream {
    let last = handler.arguments().count().saturating_sub(1);
    let suspicious = handler.arguments().take(last).filter(|argument| may_read_body(&argument.ty));
    suspicious
        .map(|PatType { ty, .. }| {
            let place = ty.span();
            let [argument, check] = ["Argument", "assert_reads_no_body"].map(|name| runtime.private_at(name, place));
            let traits = ["OfHead", "OfBody", "OfNoKind"].map(|name| runtime.private(name));
            quote_spanned! {place=>
                {
                    #(use #traits as _;)*
                    #check(&#argument::<#ty>::NEW, (&&&#argument::<#ty>::NEW).kind());
                }
            }
        })
        .collect()
}

/// Whether a type has a word such as `Json`, `ValidJson` or `Multipart`.
fn may_read_body(ty: &Type) -> bool {
    const READERS: [&str; 9] =
        ["Json", "JsonLines", "Form", "Multipart", "Protobuf", "Bytes", "String", "Body", "Request"];
    variables::has_word(ty, &|word| READERS.iter().any(|reader| word.to_string().ends_with(reader)))
}
