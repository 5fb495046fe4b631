//! All faults of one attribute, reported together.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Attribute, Error};

/// All that is wrong with one attribute, reported at once.
#[derive(Default)]
pub(crate) struct Faults(Option<Error>);

impl Faults {
    pub(crate) fn push(&mut self, fault: Error) {
        match &mut self.0 {
            Some(faults) => faults.combine(fault),
            None => self.0 = Some(fault),
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// The errors, and the user's item behind them.
    ///
    /// Each error is as conditional as the item: there is nothing wrong with a function that is not there.
    pub(crate) fn beside(self, conditions: &[Attribute], item: &TokenStream) -> TokenStream {
        let errors = self.0.into_iter().flatten().map(|error| {
            let error = error.into_compile_error();
            quote! { #(#conditions)* #error }
        });
        let mut tokens: TokenStream = errors.collect();
        item.to_tokens(&mut tokens);
        tokens
    }
}
