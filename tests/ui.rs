//! The messages of the compiler for a user who made a mistake: one topic a file, with the expected message beside it.
//!
//! The messages are those of the toolchain in `rust-toolchain.toml`. `TRYBUILD=overwrite tests/run --test ui` writes
//! them again. Read each one as a user who wants to know what to type.

use std::{collections::BTreeSet, fs};

#[test]
fn every_mistake_is_told_at_the_users_token_with_what_to_type() {
    trybuild::TestCases::new().compile_fail("tests/ui/*/*.rs");
}

/// Each mistake is reported once: no two errors begin at the same place.
#[test]
fn every_mistake_is_told_once() {
    let mut told_twice = BTreeSet::new();
    for topic in fs::read_dir("tests/ui").unwrap() {
        for file in fs::read_dir(topic.unwrap().path()).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_none_or(|extension| extension != "stderr") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let errors = text.split("\nerror").map(|error| error.lines().find(|line| line.contains("--> ")));
            let places: Vec<_> = errors.map(|place| place.unwrap().trim()).collect();
            let distinct: BTreeSet<_> = places.iter().collect();
            if distinct.len() < places.len() {
                told_twice.insert(file.strip_prefix("tests/ui").unwrap().with_extension("").display().to_string());
            }
        }
    }
    // In these two cases the second report is not ours: `debug_handler` makes it, or the compiler, for an attribute on
    // an expression.
    let not_ours = ["arguments/no_extractor", "handler/closure"].map(str::to_owned);
    assert_eq!(told_twice, BTreeSet::from(not_ours));
}
