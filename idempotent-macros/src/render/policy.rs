//! Renders the options as a `Policy` of the runtime.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::quote;

use super::{
    names::{Names, ours},
    runtime::Runtime,
};
use crate::{
    handler::Handler,
    options::{Options, WordOrValue},
    time::Time,
};

/// Renders the policy, and a reference to it:
///
/// `static __POLICY: Policy = Policy::new("pay").checked();` and `&__POLICY`
///
/// If a duration is a constant of a type, that type may be generic, and a static cannot use it. Then the policy is a
/// variable: `let __policy = const { &Policy::new("pay").ttl(Self::KEPT).checked() };` and `__policy`
pub(super) fn render(
    options: &Options,
    handler: &Handler,
    names: &Names,
    runtime: &Runtime<'_>,
) -> (TokenStream, TokenStream) {
    let (ty, value) = (runtime.private("Policy"), value(options, handler, runtime));
    let times = [&options.ttl, &options.lease, &options.wait];
    if times.into_iter().flatten().any(is_of_a_type) {
        let variable = ours("__policy");
        return (quote! { let #variable = const { &#value }; }, quote! { #variable });
    }
    let name = &names.policy;
    (quote! { static #name: #ty = #value; }, quote! { &#name })
}

/// Whether a duration is a constant of a type, such as `Self::KEPT` or `R::KEPT`, and not of a module, such as
/// `config::KEPT`.
fn is_of_a_type(time: &Time) -> bool {
    let Time::Named(path) = time else { return false };
    path.segments.len() > 1
        && path.segments.first().is_some_and(|first| first.ident.to_string().starts_with(char::is_uppercase))
}

/// The policy as a constant outside of the handler. `None` if it uses a generic parameter of the handler.
pub(super) fn constant(options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> Option<TokenStream> {
    let is_of_a_parameter = |time: &Time| {
        let Time::Named(path) = time else { return false };
        let of = |name: &Ident| path.segments.first().is_some_and(|first| first.ident == *name);
        handler.sig.generics.type_params().any(|param| of(&param.ident))
            || handler.sig.generics.const_params().any(|param| of(&param.ident))
    };
    let times = [&options.ttl, &options.lease, &options.wait];
    (!times.into_iter().flatten().any(is_of_a_parameter)).then(|| value(options, handler, runtime))
}

/// The call that makes the policy. It sets only the options that the user wrote; the runtime has the defaults.
fn value(options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> TokenStream {
    let policy = runtime.private("Policy");
    // The name contains the module, so that metrics and spans tell handlers of the same name apart. `concat!` is named by
    // `::core` and not by the runtime's path. The compiler resolves macros separately, so it would report a wrong path in
    // `crate = …` twice.
    let path = format!("::{}", handler.name());
    let name = quote! { ::core::concat!(::core::module_path!(), #path) };
    let duration = |method: TokenStream, value: &Option<Time>| {
        value.as_ref().map(|value| time(value, runtime)).map(|value| quote! { .#method(#value) })
    };
    let variant = |method: TokenStream, of: &str, value: &Ident| {
        let of = runtime.private(of);
        quote! { .#method(#of::#value) }
    };
    let value = Ident::new("Value", Span::call_site());
    let ttl = duration(quote! { ttl }, &options.ttl);
    let lease = duration(quote! { lease }, &options.lease);
    let wait = duration(quote! { wait }, &options.wait);
    let operation = options.operation.as_ref().map(|name| quote! { .operation(#name) });
    let required = options.required.as_ref().map(|value| quote! { .required(#value) });
    let replay = options.replay.as_ref().map(|word| variant(quote! { replay }, "ReplayPolicy", word));
    let takeover = options.takeover.as_ref().map(|word| variant(quote! { takeover }, "Takeover", word));
    let header = options.header.as_ref().map(|name| quote! { .header(#name) });
    let key = match &options.key {
        Some(WordOrValue::Word(format)) => variant(quote! { key }, "KeyFormat", format),
        Some(WordOrValue::Value(_)) => variant(quote! { key_from }, "KeyFrom", &value),
        None => TokenStream::new(),
    };
    let fingerprint = options.fingerprint.as_ref().map(|fingerprint| {
        let of = match fingerprint {
            WordOrValue::Word(word) => word,
            WordOrValue::Value(_) => &value,
        };
        variant(quote! { fingerprint }, "FingerprintOf", of)
    });
    quote! {
        #policy::new(#name) #operation #ttl #lease #wait #required #replay #takeover #header #key #fingerprint .checked()
    }
}

fn time(time: &Time, runtime: &Runtime<'_>) -> TokenStream {
    let duration = runtime.private("Duration");
    match time {
        Time::Named(path) => quote! { #path },
        Time::Known { value, .. } if value.subsec_nanos() == 0 => {
            let seconds = grouped(value.as_secs().into());
            quote! { #duration::from_secs(#seconds) }
        }
        Time::Known { value, .. } => {
            let millis = grouped(value.as_millis());
            quote! { #duration::from_millis(#millis) }
        }
    }
}

/// `86400` → `86_400`, which is easier to read in the expansion.
fn grouped(number: u128) -> Literal {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text.parse().unwrap_or_else(|_| Literal::u128_unsuffixed(number))
}
