//! Checks that the statements of the documentation about the tests and the code are true.

mod errors;
mod links;
mod names;
mod reading;
mod tests;
