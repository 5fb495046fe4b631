//! What the documentation says about the tests is true.

use std::{collections::BTreeSet, fs, path::Path};

/// The names of all tests under `tests/`.
fn tests_in(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for after in text.split("::test").chain(text.split("#[test")).skip(1) {
                // The first function after the attribute.
                let name = after.split_once("fn ").and_then(|(_, after)| after.split(['(', '<']).next());
                names.extend(name.map(str::to_owned));
            }
            // Those that a macro makes are listed in its call.
            for call in [
                "on_every_store! {",
                "on_every_store!(",
                "phases! {",
                "lost_commits! {",
                "on_both_databases! {",
                "redis = Processes::on_redis() => {",
            ] {
                for list in text.split(call).skip(1) {
                    let list = list.split(['}', ')']).next().unwrap();
                    names.extend(list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned));
                }
            }
        }
    }
}

/// In backticks, and of the form of a test's name.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).collect()
}

#[test]
fn every_cell_of_the_fault_matrix_names_tests_that_exist() {
    let document = fs::read_to_string("docs/reliability.md").unwrap();
    let section = document.split("\n## ").find(|section| section.starts_with("Redis: fault by phase")).unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 13, "{} rows", rows.len());
    let mut tests = BTreeSet::new();
    tests_in(Path::new("tests"), &mut tests);
    for row in rows {
        for cell in row.trim_matches('|').split('|').skip(1).filter(|cell| !cell.contains("as above")) {
            // A cell without a name of its own points to the rows above.
            if !cell.contains("rows above") {
                assert!(!named(cell).is_empty(), "no test is named in {cell}");
            }
        }
    }
    let missing: Vec<_> = named(&document).into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names what is not there: {missing:?}");
}
