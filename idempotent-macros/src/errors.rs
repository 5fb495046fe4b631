//! Collects the errors of one attribute, so that they are reported together.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Attribute, Error};

/// The errors of one attribute.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// The errors, and the user's item after them.
    ///
    /// Each error has the `cfg` attributes of the item. If the item is not compiled, its errors are not reported.
    pub(crate) fn with_item(self, conditions: &[Attribute], item: &TokenStream) -> TokenStream {
        let errors = self.0.into_iter().flatten().map(|error| {
            let error = error.into_compile_error();
            quote! { #(#conditions)* #error }
        });
        let mut tokens: TokenStream = errors.collect();
        item.to_tokens(&mut tokens);
        tokens
    }
}
