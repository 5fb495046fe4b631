//! An example in a process of its own, as its reader starts it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// A service from `examples/`, on a free port; gone with the test, and so are the files that it leaves.
pub struct Example {
    process: Child,
    /// Where it listens.
    pub address: String,
    /// Where operators look, if it has such a place.
    pub internal: Option<String>,
    _temporary: TempDir,
}

impl Example {
    /// Builds it as the tests are built, starts it, and waits until it says its address.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::of(&build(name), variables, None)
    }

    /// The same with a working directory, for one that keeps files there.
    pub fn start_in(name: &str, variables: &[(&str, &str)], directory: &Path) -> Self {
        Self::of(&build(name), variables, Some(directory))
    }

    /// Any program that says its address as the examples do. Without a directory it works where its temporary files are.
    pub fn of(program: &Path, variables: &[(&str, &str)], directory: Option<&Path>) -> Self {
        let name = program.display();
        let (mut command, temporary) = with_temporary_files(program);
        let mut process = command
            .env("PORT", "0")
            .env("INTERNAL_PORT", "0")
            .envs(variables.iter().copied())
            .current_dir(directory.unwrap_or(temporary.path()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let greeting = lines.next().and_then(Result::ok).unwrap_or_default();
        let mut addresses = greeting.split("http://").skip(1);
        let mut address = || Some(addresses.next()?.split(['/', ' ', ',']).next()?.to_owned());
        let first = address().unwrap_or_else(|| panic!("{name} did not start: {greeting:?}"));
        let internal = address();
        // It goes on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: first, internal, _temporary: temporary }
    }

    /// Runs one that ends by itself: whether it succeeded, and what it wrote to its output and its error output.
    pub fn run(name: &str, arguments: &[&str]) -> (bool, String, String) {
        let (mut command, _temporary) = with_temporary_files(&build(name));
        let output = command.args(arguments).output().expect("it was built");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// A path of it as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A command whose temporary files go with the directory, however it ends.
pub(crate) fn with_temporary_files(program: &Path) -> (Command, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program);
    command.env("TMPDIR", directory.path());
    (command, directory)
}

/// Builds it as the tests are built, and gives back the program.
fn build(name: &str) -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--all-features", "--example", name])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .expect("cargo runs");
    assert!(build.success(), "the example {name} does not compile");
    let program = std::env::current_exe().expect("a path");
    // From target/debug/deps/TEST to target/debug/examples/NAME.
    program.ancestors().nth(2).expect("a target directory").join("examples").join(name)
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
