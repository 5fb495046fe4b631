//! Tests that pages name are there, and every block of code is run by one.

use std::{collections::BTreeSet, fs};

use crate::reading::{Guide, in_backticks, pages, rows, tests};

/// The texts in backticks that have the form of a test's name.
fn named(text: &str) -> BTreeSet<&str> {
    let has_the_form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    in_backticks(text).filter(|name| name.chars().all(has_the_form)).collect()
}

#[test]
fn every_cell_of_the_fault_matrix_names_tests_that_exist() {
    let document = fs::read_to_string("docs/faults.md").unwrap();
    let rows = rows(&document, "| fault | before the handler | while it runs | after it ended, at a retry |");
    assert!(rows.len() >= 13, "{} rows", rows.len());
    let tests = tests();
    for row in rows {
        for cell in row.trim_matches('|').split('|').skip(1).filter(|cell| !cell.contains("as above")) {
            // A cell that says `rows above` needs no name of its own.
            if !cell.contains("rows above") {
                assert!(!named(cell).is_empty(), "no test is named in {cell}");
            }
        }
    }
    let document = document + &fs::read_to_string("docs/reliability.md").unwrap();
    let missing: Vec<_> = named(&document).into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "the pages on faults name what is not there: {missing:?}");
}

/// The languages of the fenced blocks of a page, as they are written there.
fn blocks(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.trim_start().strip_prefix("```")).step_by(2).collect()
}

/// The test that runs a block which the documentation's own tests do not run.
const RUN_BY: [(&str, &str, &str); 12] = [
    ("README.md", "sh", "a_newcomer_in_an_empty_folder_is_answered_with_a_replay_on_each_store"),
    ("README.md", "rust", "the_program_of_the_readme_is_the_example"),
    ("README.md", "console", "the_commands_of_the_readme_print_what_it_shows"),
    ("CONTRIBUTING.md", "sh", "the_commands_for_contributors_are_there"),
    ("CHANGELOG.md", "sql", "the_rows_of_an_old_journal_move_as_the_changelog_says"),
    ("docs/attributes.md", "text", "the_documentation_shows_what_the_attribute_writes"),
    ("docs/adopting.md", "sql", "a_unique_constraint_does_what_the_page_says"),
    ("docs/cookbook.md", "sh", "the_recipe_is_the_example"),
    ("docs/cookbook.md", "rust,no_run", "the_recipe_is_the_example"),
    ("docs/operations/runbook.md", "sql", "postgres_understands_the_queries_of_the_run_book"),
    ("docs/operations/runbook.md", "sh", "the_commands_of_the_run_book_are_understood_by_their_servers"),
    ("docs/operations.md", "text", "one_server_and_a_database_of_its_own"),
];

/// Every block of Rust is run. `cargo test --doc` compiles and runs the blocks of the pages that are published with the
/// crate.
#[test]
fn every_code_block_is_run_by_a_test() {
    let (guide, tests) = (Guide::read(), tests());
    for (name, page) in pages() {
        for language in blocks(&page) {
            let by = RUN_BY.iter().find(|(file, of, _)| (*file, *of) == (name.as_str(), language));
            if let Some((.., test)) = by {
                assert!(tests.contains(*test), "{test} is to run the block `{language}` of {name}, and is not there");
                continue;
            }
            assert!(language == "rust" && guide.publishes(&name), "{name}: nothing runs the block `{language}`");
        }
    }
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let page = fs::read_to_string("docs/security.md").unwrap();
    let tests = tests();
    let is_a_tests_name = |name: &&str| name.matches('_').count() > 3;
    let missing: Vec<_> =
        named(&page).into_iter().filter(is_a_tests_name).filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/security.md names what is not there: {missing:?}");
}
