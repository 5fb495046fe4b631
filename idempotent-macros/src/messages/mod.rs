//! Every message of the attribute.
//!
//! Each stands at the user's token and ends in the text to type.

mod durations;
mod expressions;
mod handler;
mod options;
mod place;

pub(crate) use self::{durations::*, expressions::*, handler::*, options::*};
