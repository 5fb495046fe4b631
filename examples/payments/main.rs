//! The payments service: what `#[idempotent]` is for, in one page.
fn main() {}
