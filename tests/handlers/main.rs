//! The attribute on handlers of every form, with other macros and in code that is hard on macros; what it adds to an
//! OpenAPI document.

// Public, as lints about undocumented items look at public ones alone.
pub mod any_handler;
mod composition;
mod hygiene;
mod openapi;
mod states;
mod test_store;
mod webhooks;
