//! The page of errors has the program's own words, and leaves out none of its errors.

use std::fs;

use crate::reading::{files, sources};

/// `tests/ui` has wrong code, with the messages that the compiler prints for it.
#[test]
fn the_page_of_errors_quotes_the_attribute_as_the_compiler_prints_it() {
    let printed = files("tests/ui", "stderr");
    let text: String =
        printed.iter().map(|path| fs::read_to_string(path).unwrap().replace('`', "").replace("[E0277]", "")).collect();
    let page = fs::read_to_string("docs/errors.md").unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Errors when you compile\n")).unwrap();
    let examples = section.lines().filter_map(|line| line.split_once(" | `")).map(|(_, example)| example);
    let examples: Vec<String> = examples.map(|example| example.trim_end_matches(" |").replace('`', "")).collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in examples {
        assert!(text.contains(&format!("error: {}", example.trim())), "the compiler prints no `{example}`");
    }
}

/// The names of an enum's variants.
fn variants<'a>(sources: &'a str, name: &str) -> Vec<&'a str> {
    let (_, body) = sources.split_once(&format!("pub enum {name}")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let lines = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = lines.map(|line| line.trim().split(['(', '{', ',', ' ']).next().unwrap());
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_uppercase())).collect()
}

#[test]
fn the_page_of_errors_has_the_programs_own_words_and_every_error() {
    let (page, sources) = (fs::read_to_string("docs/errors.md").unwrap(), sources());
    let (mut messages, mut in_table) = (0, false);
    for line in page.lines() {
        in_table = line.starts_with("| message |") || (in_table && line.starts_with('|'));
        let Some(message) = line.strip_prefix("| `").filter(|_| in_table) else { continue };
        let (message, _) = message.split_once("` |").unwrap();
        messages += 1;
        for part in message.split('…').filter(|part| !part.is_empty()) {
            assert!(sources.contains(part), "docs/errors.md quotes `{message}`, and no message has `{part}`");
        }
    }
    assert!(messages >= 15, "{messages} messages");
    for (name, least) in [("CommitError", 12), ("StepError<E>", 6)] {
        let names = variants(&sources, name);
        assert!(names.len() >= least, "{names:?}");
        for variant in names {
            assert!(page.contains(&format!("`{variant}`")), "docs/errors.md does not explain {name}::{variant}");
        }
    }
}
