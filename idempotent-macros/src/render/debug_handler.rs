//! `debug_handler`, moved to where it can do its work.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::runtime::Runtime;
use crate::{attributes::DebugHandler, handler::Handler};

/// `debug_handler` as it stands on the wrapper, and our own check for the inside of it.
///
/// It infers the state from the arguments, and one of them is wrapped now: so it is told. Any
/// state that offers an `Idempotency` can do where the handler names none, and the smallest such
/// state is an `Idempotency` itself.
pub(super) fn render(handler: &Handler, runtime: &Runtime<'_>) -> Option<(TokenStream, TokenStream)> {
    let DebugHandler { condition, path, arguments, state } = handler.attributes.debug_handler.as_ref()?;
    let state = match (state, handler.states().as_slice()) {
        (Some(written), _) => Some(written.clone()),
        (None, []) => Some(runtime.public_at("Idempotency", path.span())),
        (None, [state]) => Some(state.to_token_stream()),
        // It asks the user which one.
        (None, _) => None,
    };
    let arguments = match &state {
        Some(state) if arguments.is_empty() => quote! { state = #state },
        _ => arguments.clone(),
    };
    let attribute = if let Some(condition) = condition {
        quote! { #[cfg_attr(#condition, #path(#arguments))] }
    } else {
        quote! { #[#path(#arguments)] }
    };
    // Of a generic handler `debug_handler` itself says that it cannot check it.
    let checked = state.filter(|_| handler.sig.generics.params.is_empty());
    let check = checked.map(|state| {
        let cfg = condition.as_ref().map(|condition| quote! { #[cfg(#condition)] });
        let place = state.span();
        let offers = runtime.private_at("assert_state_offers_idempotency", place);
        let call = quote_spanned! {place=> #offers::<#state>() };
        quote! { #cfg const _: () = #call; }
    });
    Some((attribute, check.unwrap_or_default()))
}
