//! How a message is put to a place.

use std::fmt::Display;

use quote::ToTokens;
use syn::Error;

pub(super) fn fault(place: impl ToTokens, message: impl Display) -> Error {
    Error::new_spanned(place, message)
}
