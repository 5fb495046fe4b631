//! The error messages of the attribute.
//!
//! Each is reported at the token that is wrong, and says what to write instead.

mod durations;
mod expressions;
mod handler;
mod options;
mod place;

pub(crate) use self::{durations::*, expressions::*, handler::*, options::*};
