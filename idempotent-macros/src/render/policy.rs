//! The options as the runtime takes them.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::runtime::Runtime;
use crate::{handler::Handler, options::Options, time::Time};

/// Only what the user wrote; all else is the runtime's default.
pub(super) fn render(options: &Options, handler: &Handler, runtime: &Runtime<'_>) -> TokenStream {
    let policy = runtime.private("Policy");
    let name = handler.name();
    let duration = |method: TokenStream, value: &Option<Time>| {
        value.as_ref().map(|value| time(value, runtime)).map(|value| quote! { .#method(#value) })
    };
    let variant = |method: TokenStream, of: &str, value: &Option<Ident>| {
        let of = runtime.private(of);
        value.as_ref().map(|value| quote! { .#method(#of::#value) })
    };
    let ttl = duration(quote! { ttl }, &options.ttl);
    let lease = duration(quote! { lease }, &options.lease);
    let wait = duration(quote! { wait }, &options.wait);
    let required = options.required.as_ref().map(|value| quote! { .required(#value) });
    let replay = variant(quote! { replay }, "ReplayPolicy", &options.replay);
    let takeover = variant(quote! { takeover }, "Takeover", &options.takeover);
    let key = variant(quote! { key }, "KeyFormat", &options.key);
    quote! { #policy::new(#name) #ttl #lease #wait #required #replay #takeover #key .checked() }
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

/// `86400` → `86_400`, as a person would write it.
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
