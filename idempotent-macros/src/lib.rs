//! The `#[idempotent]` attribute. Use it through the `idempotent-runtime` crate.
