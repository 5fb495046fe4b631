//! The paths to the runtime crate, as the expansion writes them.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;

use crate::options::Options;

/// Writes the paths to the runtime crate. They are absolute, so that no item of the user can be meant instead.
pub(super) struct Runtime<'a> {
    krate: Option<&'a Path>,
}

impl<'a> Runtime<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { krate: options.krate.as_ref() }
    }

    /// `::idempotent_runtime::NAME`
    pub(super) fn public(&self, name: &str) -> TokenStream {
        let place = Span::call_site();
        let krate = self.krate(place);
        let name = Ident::new(name, place);
        quote_spanned! {place=> #krate::#name }
    }

    /// `::idempotent_runtime::__private::NAME`
    pub(super) fn private(&self, name: &str) -> TokenStream {
        self.private_at(name, Span::call_site())
    }

    /// The same path at the place of a token of the user. The compiler shows errors about it there.
    pub(super) fn private_at(&self, name: &str, place: Span) -> TokenStream {
        let krate = self.krate(place);
        let name = Ident::new(name, place);
        quote_spanned! {place=> #krate::__private::#name }
    }

    fn krate(&self, place: Span) -> TokenStream {
        self.krate
            .map_or_else(|| quote_spanned! {place=> ::idempotent_runtime }, |path| of_macro(path.to_token_stream()))
    }
}

/// The user's path, as tokens of the macro at the place where the user wrote it. At that place, a wrong path is reported
/// once. As tokens of the macro, no lint about how the path is written is reported for each use.
fn of_macro(path: TokenStream) -> TokenStream {
    let of_macro = |mut token: TokenTree| {
        // The span of `$crate` says which crate it means, so it is kept.
        if !matches!(&token, TokenTree::Ident(ident) if ident == "$crate") {
            token.set_span(Span::call_site().located_at(token.span()));
        }
        token
    };
    path.into_iter().map(of_macro).collect()
}
