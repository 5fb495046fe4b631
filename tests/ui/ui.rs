//! The messages of the compiler for a user who made a mistake. A file has the mistakes of one topic, each in a module, and
//! the expected messages are beside it.
//!
//! The messages are those of the toolchain in `rust-toolchain.toml`. `TRYBUILD=overwrite cargo test -p idempotent-ui` writes
//! them again. Read each one as a user who wants to know what to type.

use std::{collections::BTreeSet, fs};

#[test]
fn every_mistake_is_told_at_the_users_token_with_what_to_type() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}

/// Each mistake is reported once: no two errors begin at the same place.
#[test]
fn every_mistake_is_told_once() {
    // These reports are not ours: `debug_handler` makes the first, and the compiler the second, for an attribute on an
    // expression.
    let is_ours = |error: &&str| !error.contains("__axum_macros_check") && !error.contains("E0658");
    let mut told_twice = Vec::new();
    for file in fs::read_dir("cases").unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "stderr") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let mut places = BTreeSet::new();
        for error in text.split("\nerror").filter(is_ours) {
            let place = error.lines().find(|line| line.contains("--> ")).unwrap().trim();
            if !places.insert(place) {
                told_twice.push(place.to_owned());
            }
        }
    }
    assert_eq!(told_twice, Vec::<String>::new());
}
