//! What the compiler says to a user who made a mistake: one topic a file, beside the words that it gets.
//!
//! The words are those of the toolchain in `rust-toolchain.toml`. `TRYBUILD=overwrite cargo test --test ui` writes them
//! anew; read each as a user would, who wants to know what to type.

#[test]
fn every_mistake_is_told_at_the_users_token_with_what_to_type() {
    trybuild::TestCases::new().compile_fail("tests/ui/*/*.rs");
}
