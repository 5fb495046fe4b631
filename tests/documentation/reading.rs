//! Reads the pages, the tests and the source code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The files below a folder whose names end so, in order.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every page that is written for readers, with its path.
pub(crate) fn pages() -> Vec<(String, String)> {
    let at_the_top = fs::read_dir(".").unwrap().map(|entry| entry.unwrap().path());
    let at_the_top = at_the_top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let paths = at_the_top.chain(files("docs", "md"));
    let name = |path: &PathBuf| path.to_str().unwrap().trim_start_matches("./").to_owned();
    let mut pages: Vec<_> = paths.map(|path| (name(&path), fs::read_to_string(path).unwrap())).collect();
    pages.sort();
    assert!(pages.len() > 20, "{} pages", pages.len());
    pages
}

/// The pages that are published with the crate, as `guide.rs` lists them.
pub(crate) struct Guide(String);

impl Guide {
    pub(crate) fn read() -> Self {
        Self(fs::read_to_string("idempotent-runtime/src/guide.rs").unwrap())
    }

    /// Whether the page with this path is published.
    pub(crate) fn publishes(&self, page: &str) -> bool {
        page.strip_prefix("docs/").is_some_and(|file| self.0.contains(&format!("\"{file}\"")))
    }

    /// Whether a reference leads somewhere in the published documentation.
    pub(crate) fn resolves(&self, reference: &str) -> bool {
        self.0.contains(&format!("/// [{reference}]: crate::"))
    }
}

/// A page without its fenced blocks.
pub(crate) fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// The targets of the links in a text that are written as `[text](target)`.
pub(crate) fn inline_links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The references of a text, each with its target: `[reference]: target`.
pub(crate) fn references(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

/// The texts in backticks.
pub(crate) fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the table under `header`, without the line that separates the header.
pub(crate) fn rows<'a>(page: &'a str, header: &str) -> Vec<&'a str> {
    let lines = page.lines().skip_while(|line| *line != header).skip(2);
    lines.take_while(|line| line.starts_with('|')).collect()
}

/// The names of all tests under `tests/`, and of those of the macro.
pub(crate) fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files("tests", "rs").into_iter().chain(files("idempotent-macros/src", "rs")) {
        let text = fs::read_to_string(path).unwrap();
        for after in text.split("::test").chain(text.split("#[test")).skip(1) {
            // The name of the first function after the attribute.
            let name = after.split_once("fn ").and_then(|(_, after)| after.split(['(', '<']).next());
            names.extend(name.map(str::to_owned));
        }
        // Tests that a macro makes are listed in the call of the macro.
        for call in [
            "on_every_store! {",
            "on_every_store!(",
            "on_memory!(",
            "phases! {",
            "lost_commits! {",
            "on_both_databases! {",
            "every store {",
            "every server {",
        ] {
            for list in text.split(call).skip(1) {
                let list = list.split(['}', ')']).next().unwrap();
                names.extend(list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned));
            }
        }
    }
    names
}

/// The source code as one line. Line breaks inside long messages are removed, and so are backticks.
pub(crate) fn sources() -> String {
    let text: String =
        files("idempotent-runtime/src", "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines = text.split("\\\n").map(str::trim_start).collect::<Vec<_>>();
    lines.concat().replace('`', "")
}

/// Whether there is a test binary with this name.
pub(crate) fn is_test(name: &str) -> bool {
    let path = Path::new("tests").join(name);
    path.exists() || path.with_extension("rs").exists()
}
