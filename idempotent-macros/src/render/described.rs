//! Adds the options to what a `utoipa::path` below the attribute describes.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, format_ident, quote};
use syn::{Attribute, Ident, Meta, MetaList, parse_quote_spanned, spanned::Spanned as _};

use super::{policy, runtime::Runtime};
use crate::{
    attributes::{conditional, is_of_utoipa},
    handler::Handler,
    options::Options,
};

/// Renders the attributes that are moved above `#[idempotent]`, and the items that are added after the function.
///
/// `utoipa::path` describes the handler `pay` in a type `__path_pay`, and the other macros of utoipa look for that name.
/// Here `utoipa::path` gets another name for its type. `__path_pay` is then a type of the runtime that adds the options to
/// the description:
///
/// `#[utoipa::path(post, …)]` → `#[utoipa::path(post, …, impl_for = __bare_path_pay)]` and
/// ```text
/// pub struct __bare_path_pay;
/// impl DescribedPolicy for __bare_path_pay {
///     const POLICY: Policy = Policy::new("pay").checked();
/// }
/// pub type __path_pay = Described<__bare_path_pay>;
/// ```
pub(super) fn render(handler: &Handler, options: &Options, runtime: &Runtime<'_>) -> (Vec<Attribute>, TokenStream) {
    let hoisted = &handler.attributes.hoisted;
    if !cfg!(feature = "utoipa") {
        return (hoisted.clone(), TokenStream::new());
    }
    let bare = format_ident!("__bare_path_{}", handler.sig.ident);
    let (mut attributes, mut descriptions) = (Vec::new(), TokenStream::new());
    for attribute in hoisted {
        let (condition, meta) = conditional(attribute);
        let policy = policy::constant(options, handler, runtime);
        match (list_of_utoipa(&meta), policy) {
            (Some(list), Some(policy)) => {
                attributes.push(with_type(list, condition.as_ref(), &bare));
                let condition = condition.map(|condition| quote! { #[cfg(#condition)] });
                descriptions.extend(description(handler, &bare, condition.as_ref(), &policy, runtime));
            }
            _ => attributes.push(attribute.clone()),
        }
    }
    (attributes, descriptions)
}

/// The list `utoipa::path(…)`. `None` if it already names a type with `impl_for`.
fn list_of_utoipa(meta: &Meta) -> Option<&MetaList> {
    let list = meta.require_list().ok().filter(|list| is_of_utoipa(&list.path))?;
    let names_a_type = list.tokens.clone().into_iter().any(|token| token.to_string() == "impl_for");
    (!names_a_type).then_some(list)
}

fn with_type(list: &MetaList, condition: Option<&TokenStream>, bare: &Ident) -> Attribute {
    let MetaList { path, tokens, .. } = list;
    let ends_in_comma = tokens.clone().into_iter().last().is_some_and(|last| last.to_string() == ",");
    let comma = (!tokens.is_empty() && !ends_in_comma).then(|| quote! { , });
    let meta = quote! { #path(#tokens #comma impl_for = #bare) };
    let span = list.span();
    match condition {
        Some(condition) => parse_quote_spanned! {span=> #[cfg_attr(#condition, #meta)] },
        None => parse_quote_spanned! {span=> #[#meta] },
    }
}

fn description(
    handler: &Handler,
    bare: &Ident,
    condition: Option<&TokenStream>,
    policy: &TokenStream,
    runtime: &Runtime<'_>,
) -> TokenStream {
    let conditions: TokenStream =
        handler.attributes.conditions.iter().map(Attribute::to_token_stream).chain(condition.cloned()).collect();
    let path = format_ident!("__path_{}", handler.sig.ident);
    let [policy_type, described, described_policy] =
        ["Policy", "Described", "DescribedPolicy"].map(|name| runtime.private(name));
    quote! {
        #conditions
        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_docs, unreachable_pub)]
        pub struct #bare;
        #conditions
        impl #described_policy for #bare {
            const POLICY: #policy_type = #policy;
        }
        #conditions
        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_docs, unreachable_pub)]
        pub type #path = #described<#bare>;
    }
}
