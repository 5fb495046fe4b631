//! The error messages of the attribute.
//!
//! Each is reported at the token that is wrong, and says what to write instead.

mod durations;
mod expressions;
mod handler;
mod options;

use std::fmt::Display;

use quote::ToTokens;
use syn::Error;

pub(crate) use self::{durations::*, expressions::*, handler::*, options::*};

/// Reports a message at a token.
fn error_at(place: impl ToTokens, message: impl Display) -> Error {
    Error::new_spanned(place, message)
}
