//! Reports a message at a token.

use std::fmt::Display;

use quote::ToTokens;
use syn::Error;

pub(super) fn error_at(place: impl ToTokens, message: impl Display) -> Error {
    Error::new_spanned(place, message)
}
