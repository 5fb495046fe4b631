//! Checks that the statements of the documentation about the tests and the code are true.

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
                // The name of the first function after the attribute.
                let name = after.split_once("fn ").and_then(|(_, after)| after.split(['(', '<']).next());
                names.extend(name.map(str::to_owned));
            }
            // Tests that a macro makes are listed in the call of the macro.
            for call in [
                "on_every_store! {",
                "on_every_store!(",
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
    }
}

/// The texts in backticks that have the form of a test's name.
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
            // A cell that says `rows above` needs no name of its own.
            if !cell.contains("rows above") {
                assert!(!named(cell).is_empty(), "no test is named in {cell}");
            }
        }
    }
    let missing: Vec<_> = named(&document).into_iter().filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/reliability.md names what is not there: {missing:?}");
}

/// Every page that is written for readers, with its path.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut folders = vec![Path::new(".").to_path_buf(), Path::new("docs").to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && folder.starts_with("docs") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.to_str().unwrap().trim_start_matches("./").to_owned();
                pages.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 20, "{} pages", pages.len());
    pages
}

/// The languages of the fenced blocks of a page, as they are written there.
fn blocks(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.trim_start().strip_prefix("```")).step_by(2).collect()
}

/// The test that runs a block which the documentation's own tests do not run.
const RUN_BY: [(&str, &str, &str); 7] = [
    ("README.md", "sh", "a_newcomer_in_an_empty_folder_is_answered_with_a_replay_on_each_store"),
    ("README.md", "rust", "the_program_of_the_readme_is_the_example"),
    ("README.md", "console", "the_commands_of_the_readme_print_what_it_shows"),
    ("CONTRIBUTING.md", "sh", "the_commands_for_contributors_are_there"),
    ("docs/attributes.md", "text", "the_example_expands_to_wrappers_that_a_reader_can_take_in"),
    ("docs/operations/runbook.md", "sh", "the_commands_of_the_run_book_are_understood_by_their_servers"),
    ("docs/operations.md", "text", "one_server_and_a_database_of_its_own"),
];

/// Every block of Rust is run. `cargo test --doc` compiles and runs the blocks of the pages that are published with the
/// crate.
#[test]
fn every_code_block_is_run_by_a_test() {
    let guide = fs::read_to_string("idempotent-runtime/src/guide.rs").unwrap();
    let mut tests = BTreeSet::new();
    tests_in(Path::new("tests"), &mut tests);
    for (name, page) in pages() {
        for language in blocks(&page) {
            let by = RUN_BY.iter().find(|(file, of, _)| (*file, *of) == (name.as_str(), language));
            if let Some((.., test)) = by {
                assert!(tests.contains(*test), "{test} is to run the block `{language}` of {name}, and is not there");
                continue;
            }
            let published = name.strip_prefix("docs/").is_some_and(|file| guide.contains(&format!("\"{file}\"")));
            assert!(language == "rust" && published, "{name}: nothing runs the block `{language}`");
        }
    }
}

/// The rows of the table under `header`, without the line that separates the header.
fn rows<'a>(page: &'a str, header: &str) -> Vec<&'a str> {
    let lines = page.lines().skip_while(|line| *line != header).skip(2);
    lines.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_front_page_of_the_crate_lists_the_options_of_the_readme() {
    let header = "| option | default | meaning |";
    let front_page = fs::read_to_string("idempotent-runtime/src/front_page/reference.md").unwrap();
    let readme = fs::read_to_string("README.md").unwrap();
    assert!(rows(&readme, header).len() > 8, "{:?}", rows(&readme, header));
    assert_eq!(rows(&front_page, header), rows(&readme, header));
}

#[test]
fn the_front_page_of_the_crate_lists_every_feature() {
    let front_page = fs::read_to_string("idempotent-runtime/src/front_page/reference.md").unwrap();
    let table = rows(&front_page, "| feature | default | what it adds |");
    let listed: BTreeSet<_> =
        table.iter().filter_map(|row| row.split('|').nth(1)).flat_map(named_with_dashes).collect();
    let manifest = fs::read_to_string("idempotent-runtime/Cargo.toml").unwrap();
    let section = manifest.split("[features]\n").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let names = section.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let features: BTreeSet<_> =
        names.filter(|name| *name != "default" && !name.starts_with(['_', '#'])).map(str::to_owned).collect();
    assert_eq!(listed, features);
}

/// The texts in backticks in a cell.
fn named_with_dashes(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The texts in backticks on one line, outside fenced blocks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_file_example_and_benchmark_that_a_page_names_is_there() {
    let manifests =
        ["Cargo.toml", "benches/Cargo.toml", "examples/Cargo.toml"].map(|file| fs::read_to_string(file).unwrap());
    let is_target = |kind: &str, name: &str| {
        let declared = |manifest: &String| manifest.contains(&format!("[[{kind}]]\nname = \"{name}\"\n"));
        manifests.iter().any(declared) || Path::new("examples").join(name).join("main.rs").exists()
    };
    for (name, page) in pages() {
        for text in quoted(&page) {
            let words: Vec<&str> = text.split_whitespace().collect();
            let is_cargo = words.first() == Some(&"cargo");
            let names_a_root_target = is_cargo && words.iter().any(|word| ["--test", "--bench"].contains(word));
            assert!(
                !names_a_root_target || words.iter().any(|word| ["-p", "--package", "--workspace"].contains(word)),
                "{name} names `{text}`, which finds nothing: the root package is no default member"
            );
            for pair in words.windows(2) {
                let is_test = pair[0] == "--test" && !pair[1].contains("NAME");
                let test = Path::new("tests").join(pair[1]);
                assert!(!is_test || test.exists() || test.with_extension("rs").exists(), "{name} names `{text}`");
                let kind = pair[0].strip_prefix("--").filter(|kind| ["example", "bench"].contains(kind));
                let is_meant = kind.is_some() && pair[1] != "NAME";
                assert!(!is_meant || kind.is_some_and(|kind| is_target(kind, pair[1])), "{name} names `{text}`");
            }
            let file = words.first().filter(|word| {
                let roots = ["benches/", "docs/", "examples/", "tests/"];
                roots.iter().any(|root| word.starts_with(root)) && !word.contains(['*', '…', '{'])
            });
            assert!(file.is_none_or(|file| Path::new(file).exists()), "{name} names `{text}`, which is not there");
        }
    }
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_to_a_page_or_a_heading_leads_somewhere() {
    let mut links = 0;
    for (name, page) in pages() {
        let text: String = page.split("```").step_by(2).collect();
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let references = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, to)| to);
        for link in inline.chain(references).filter(|link| !link.contains("://")) {
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if file.is_empty() { name.clone().into() } else { Path::new(&name).parent().unwrap().join(file) };
            assert!(path.exists(), "{name} links to {link}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&path).unwrap();
                let mut headings =
                    page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_matches(['#', ' ']));
                assert!(headings.any(|title| anchor(title) == heading), "{name} links to {link}");
            }
        }
    }
    assert!(links > 60, "{links} links");
}

/// The published pages link to each other by references, which `guide.rs` resolves.
#[test]
fn every_link_of_a_published_page_leads_somewhere_in_the_published_documentation() {
    let guide = fs::read_to_string("idempotent-runtime/src/guide.rs").unwrap();
    let mut links = 0;
    for (name, page) in pages() {
        let Some(file) = name.strip_prefix("docs/") else { continue };
        if !guide.contains(&format!("\"{file}\"")) {
            continue;
        }
        let text: String = page.split("```").step_by(2).collect();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(link.contains("://") || link.starts_with('#'), "{name}: write {link} as a reference");
        }
        for (reference, to) in text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")) {
            links += 1;
            let resolved = guide.contains(&format!("/// [{reference}]: crate::"));
            assert!(to.contains("://") || resolved, "{name}: guide.rs does not resolve [{reference}]");
        }
    }
    assert!(links > 10, "{links} links");
}

#[test]
fn the_page_on_the_architecture_names_every_folder_and_file_at_the_top() {
    let page = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for source in ["idempotent-macros/src", "idempotent-runtime/src"] {
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // A folder has the same name as the file that declares its module.
            let folder = path
                .extension()
                .map_or(format!("`{name}/`"), |_| format!("`{}/`", path.file_stem().unwrap().to_str().unwrap()));
            let is_named = name == "lib.rs" || page.contains(&format!("`{name}`")) || page.contains(&folder);
            assert!(
                is_named || page.contains(&format!("`{name}.rs`")),
                "ARCHITECTURE.md does not name {source}/{name}"
            );
        }
    }
    // Every file that a section names exists.
    let named =
        named_with_dashes(&page).filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "rs"));
    for name in named {
        let roots = ["idempotent-macros/src", "idempotent-runtime/src"];
        assert!(roots.iter().any(|root| Path::new(root).join(&name).exists()), "ARCHITECTURE.md names {name}");
    }
}

#[test]
fn the_commands_for_contributors_are_there() {
    use std::os::unix::fs::PermissionsExt as _;

    let page = fs::read_to_string("CONTRIBUTING.md").unwrap();
    let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    for line in block.lines() {
        let mut words = line.split('#').next().unwrap().split_whitespace();
        let program = words.next().unwrap();
        assert!(fs::metadata(program).unwrap().permissions().mode() & 0o111 != 0, "{program}");
        while let Some(word) = words.next() {
            if word == "--test" {
                let test = words.next().unwrap();
                assert!(
                    Path::new("tests").join(test).exists() || Path::new("tests").join(format!("{test}.rs")).exists()
                );
            }
        }
    }
}

/// The source code as one line. Line breaks inside long messages are removed.
fn sources() -> String {
    fn read(directory: &Path, text: &mut String) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                read(&entry.path(), text);
            } else {
                text.push_str(&fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut text = String::new();
    read(Path::new("idempotent-runtime/src"), &mut text);
    let lines = text.split("\\\n").map(str::trim_start).collect::<Vec<_>>();
    lines.concat().replace('`', "")
}

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
    fn printed(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                printed(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "stderr") {
                text.push_str(&fs::read_to_string(path).unwrap().replace('`', ""));
            }
        }
    }
    let mut text = String::new();
    printed(Path::new("tests/ui"), &mut text);
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
