//! The page of errors has the program's own words, and leaves out none of its errors.

use std::{collections::BTreeSet, fs};

use crate::reading::{files, sources};

/// The messages that the program logs at `warn` or `error`, each with its level, with backticks removed.
fn logged(sources: &str) -> BTreeSet<(&str, &str)> {
    let mut messages = BTreeSet::new();
    let calls = [("tracing::warn!(", Some("warn")), ("tracing::error!(", Some("error")), ("limited!(", None)];
    for (call, level) in calls {
        for rest in sources.split(call).skip(1) {
            let event = rest.trim_start();
            let level = level.unwrap_or_else(|| event.split(|c: char| !c.is_alphanumeric()).next().unwrap());
            let end = event.char_indices().scan((0_i32, false), |(depth, is_text), (at, c)| {
                match c {
                    '"' => *is_text = !*is_text,
                    '(' if !*is_text => *depth += 1,
                    ')' if !*is_text => *depth -= 1,
                    _ => {}
                }
                Some((at, *depth))
            });
            let (end, _) = end.into_iter().find(|(_, depth)| *depth < 0).unwrap();
            // The message is the last argument.
            let message = event[..end].rsplit('"').nth(1).unwrap();
            messages.insert((level, message));
        }
    }
    messages
}

#[test]
fn the_page_of_errors_has_every_warning_and_error_of_the_log() {
    let (page, sources) = (fs::read_to_string("docs/errors.md").unwrap(), sources());
    let section = page.split("\n### ").find(|section| section.starts_with("In the log\n")).unwrap();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(message, cells)| (message, cells.split(" |").next().unwrap()))
        .collect();
    let is_row = |level: &str, message: &str| {
        let says = |quoted: &str| match quoted.strip_suffix('…') {
            Some(beginning) => message.starts_with(beginning),
            None => message == quoted,
        };
        rows.iter().any(|(quoted, levels)| says(quoted) && levels.split(", ").any(|listed| listed == level))
    };
    let messages = logged(&sources);
    assert!(messages.len() > 40, "{messages:?}");
    let missing: Vec<_> = messages.iter().filter(|(level, message)| !is_row(level, message)).collect();
    assert!(missing.is_empty(), "docs/errors.md has no row, with its level, for {missing:#?}");
}

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
    for kind in variants(&sources, "ProblemKind") {
        let spaced = kind.chars().flat_map(|letter| [letter.is_ascii_uppercase().then_some('-'), Some(letter)]);
        let slug = spaced.flatten().collect::<String>().to_ascii_lowercase();
        assert!(page.contains(&format!("| `{}` |", &slug[1..])), "docs/errors.md does not explain {kind}");
    }
}
