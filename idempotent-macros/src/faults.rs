//! All faults of one attribute, reported together.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::Error;

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
    pub(crate) fn beside(self, item: &TokenStream) -> TokenStream {
        let mut tokens = self.0.map(Error::into_compile_error).unwrap_or_default();
        item.to_tokens(&mut tokens);
        tokens
    }
}
