//! Checks that the dependencies work with the oldest compiler that the project states.

use std::{collections::HashSet, process::Command};

use serde_json::Value;

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Parses a version. `1.88` and `1.88.0` are the same one.
fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn no_dependency_of_a_users_needs_a_newer_compiler_than_is_stated() {
    let tree = ["tree", "--package", "idempotent-runtime", "--edges", "normal", "--all-features"];
    let tree = cargo(&[&tree[..], &["--prefix", "none", "--no-dedupe", "--format", "{p}"]].concat());
    // Each line is like `serde v1.0.229`, perhaps with notes after it.
    let theirs: HashSet<(&str, &str)> =
        tree.lines().filter_map(|line| line.split_once(" v")).map(|(name, rest)| (name, first_word(rest))).collect();

    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |package: &Value, field: &str| package[field].as_str().map(str::to_owned);
    let ours = packages.iter().find(|package| package["name"] == "idempotent-runtime").unwrap();
    let stated = version(&text(ours, "rust_version").unwrap());

    let mut asked = 0;
    for package in packages {
        let (name, number) = (text(package, "name").unwrap(), text(package, "version").unwrap());
        if !theirs.contains(&(name.as_str(), number.as_str())) {
            continue;
        }
        asked += 1;
        if let Some(needed) = text(package, "rust_version") {
            assert!(version(&needed) <= stated, "{name} {number} needs Rust {needed}");
        }
    }
    assert!(asked > 100, "only {asked} dependencies were found");
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}
