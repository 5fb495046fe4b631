//! How an expansion spells what is ours.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::Path;

use crate::options::Options;

/// Paths into the runtime crate: absolute ones, so that no name of the user's can be in the way.
pub(super) struct Runtime<'a> {
    krate: Option<&'a Path>,
}

impl<'a> Runtime<'a> {
    pub(super) fn of(options: &'a Options) -> Self {
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

    /// The same at the place of the user's token, where errors about it are shown.
    pub(super) fn private_at(&self, name: &str, place: Span) -> TokenStream {
        let krate = self.krate(place);
        let name = Ident::new(name, place);
        quote_spanned! {place=> #krate::__private::#name }
    }

    fn krate(&self, place: Span) -> TokenStream {
        self.krate.map_or_else(|| quote_spanned! {place=> ::idempotent_runtime }, |path| ours(path.to_token_stream()))
    }
}

/// The user's path, where it was written, so that a wrong one is reported there, and once; but as a macro's, so that no lint
/// about the way in which it is written speaks up for each use.
fn ours(path: TokenStream) -> TokenStream {
    let ours = |mut token: TokenTree| {
        // What `$crate` means is in its span.
        if !matches!(&token, TokenTree::Ident(ident) if ident == "$crate") {
            token.set_span(Span::call_site().located_at(token.span()));
        }
        token
    };
    path.into_iter().map(ours).collect()
}
