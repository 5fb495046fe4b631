//! What pages name is there, and what must be named is named: files, examples, commands, options, features, folders.

use std::{collections::BTreeSet, fs, path::Path};

use crate::reading::{files, in_backticks, is_test, pages, rows};

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
        table.iter().filter_map(|row| row.split('|').nth(1)).flat_map(in_backticks).map(str::to_owned).collect();
    let manifest = fs::read_to_string("idempotent-runtime/Cargo.toml").unwrap();
    let section = manifest.split("[features]\n").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let names = section.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let features: BTreeSet<_> =
        names.filter(|name| *name != "default" && !name.starts_with(['_', '#'])).map(str::to_owned).collect();
    assert_eq!(listed, features);
}

/// A setting that has no row is found by nobody who reads the page, and a row without a setting sends people astray.
#[test]
fn the_table_of_settings_has_every_method_of_the_builder() {
    let page = fs::read_to_string("docs/operations.md").unwrap();
    let settings: BTreeSet<&str> = rows(&page, "| setting | default | meaning |")
        .into_iter()
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(in_backticks)
        .collect();
    let sources: Vec<_> =
        files("idempotent-runtime/src", "rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let blocks = sources.iter().flat_map(|text| text.split("\nimpl IdempotencyBuilder {").skip(1));
    let methods: BTreeSet<&str> = blocks
        .flat_map(|block| block.split("\n}").next().unwrap().split("\n    pub fn ").skip(1))
        .map(|method| method.split(['(', '<']).next().unwrap())
        .filter(|name| *name != "build")
        .collect();
    assert!(methods.len() > 20, "{methods:?}");
    assert_eq!(settings, methods);
}

/// Whoever copies a block needs its packages, and other versions of them may not compile.
#[test]
fn every_page_names_the_packages_of_its_code_and_their_versions() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let locked: Vec<(&str, &str)> = lock
        .split("[[package]]\nname = \"")
        .skip(1)
        .filter_map(|package| package.split_once("\"\nversion = \""))
        .map(|(name, rest)| (name, rest.split('"').next().unwrap()))
        .collect();
    // The README's first commands add the first two and this crate, and the others are modules in the blocks.
    let known = ["axum", "tokio", "idempotent-runtime", "http", "time"];
    for (name, page) in pages().iter().filter(|(name, _)| name.starts_with("docs/")) {
        // A recipe is copied alone.
        let parts = if name.ends_with("cookbook.md") { page.split("\n## ").collect() } else { vec![page.as_str()] };
        for part in parts {
            let code = part.split("```").skip(1).step_by(2).filter(|block| block.starts_with("rust"));
            let words =
                code.flat_map(|block| block.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
            let first = words.filter_map(|word| word.split_once("::")).map(|(first, _)| first.replace('_', "-"));
            for used in first.filter(|first| !known.contains(&first.as_str())).collect::<BTreeSet<_>>() {
                let mut versions = locked.iter().filter(|(name, _)| name.replace('_', "-") == used).peekable();
                let is_named = |(name, version): &(&str, &str)| {
                    let prefix = if version.starts_with("0.") { 2 } else { 1 };
                    let version: Vec<_> = version.split('.').take(prefix).collect();
                    part.contains(&format!("{name}@{}", version.join(".")))
                };
                let is_package = versions.peek().is_some();
                assert!(!is_package || versions.any(is_named), "{name} does not name `{used}` and its version");
            }
        }
    }
}

/// The texts in backticks on one line, outside fenced blocks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split("```").step_by(2).flat_map(str::lines).flat_map(in_backticks)
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
                let is_meant = pair[0] == "--test" && !pair[1].contains("NAME");
                assert!(!is_meant || is_test(pair[1]), "{name} names `{text}`");
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

#[test]
fn the_page_on_the_architecture_names_every_folder_and_file_at_the_top() {
    let page = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for source in ["idempotent-macros/src", "idempotent-runtime/src"] {
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // A file and the folder of the same name are one module, and may be named either way.
            let module = path.file_stem().unwrap().to_str().unwrap();
            let spellings = [format!("`{name}`"), format!("`{module}.rs`"), format!("`{module}/`")];
            let is_named = name == "lib.rs" || spellings.iter().any(|spelling| page.contains(spelling));
            assert!(is_named, "ARCHITECTURE.md does not name {source}/{name}");
        }
    }
    // Every file that a section names exists.
    for name in in_backticks(&page).filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "rs")) {
        let roots = ["idempotent-macros/src", "idempotent-runtime/src"];
        assert!(roots.iter().any(|root| Path::new(root).join(name).exists()), "ARCHITECTURE.md names {name}");
    }
}

/// The first names of the paths that begin with `crate::`, in a group or alone.
fn imports(code: &str) -> BTreeSet<&str> {
    let first = |path| str::split(str::trim(path), |c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
    let paths = code.split("crate::").skip(1).flat_map(|path| match path.strip_prefix('{') {
        None => vec![first(path)],
        Some(group) => {
            let (group, _) = group.split_once("};").unwrap();
            let mut depth = 0;
            let ends = move |c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth == 0 && c == ','
            };
            group.split(ends).map(first).collect()
        }
    });
    paths.collect()
}

#[test]
fn imports_go_downward_only_as_the_page_on_the_architecture_lists_the_folders() {
    let page = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let (_, order) = page.split_once("Imports go downward only").unwrap();
    let levels: Vec<BTreeSet<&str>> =
        order.split("\n\n").next().unwrap().split(';').map(|level| in_backticks(level).collect()).collect();
    let level = |folder: &str| levels.iter().position(|level| level.contains(format!("{folder}/").as_str()));
    let mut checked = 0;
    for path in files("idempotent-runtime/src", "rs") {
        let inside = path.strip_prefix("idempotent-runtime/src").unwrap();
        let folder = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(own) = level(folder.trim_end_matches(".rs")) else { continue };
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for name in imports(&code.join("\n")) {
            checked += 1;
            assert!(level(name).is_none_or(|other| other >= own), "{} imports {name}/", path.display());
        }
    }
    assert!(checked > 200, "{checked}");
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
                assert!(is_test(test), "{test}");
            }
        }
    }
}
