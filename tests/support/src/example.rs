//! Runs an example in its own process, as its reader does.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use tempfile::TempDir;

use crate::directory;

/// A service from `examples/` on a free port. It is stopped with the test, and its files are removed.
pub struct Example {
    process: Child,
    /// The address on which it listens.
    pub address: String,
    /// The address for operators, if it has one.
    pub internal: Option<String>,
    _temporary: TempDir,
}

impl Example {
    /// Builds it as the tests are built, starts it, and waits until it prints its address.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::of(&build(name), variables, None)
    }

    /// The same with a working directory, for an example that keeps files there.
    pub fn start_in(name: &str, variables: &[(&str, &str)], directory: &Path) -> Self {
        Self::of(&build(name), variables, Some(directory))
    }

    /// Starts any program that prints its address as the examples do. Without a directory it works in its temporary
    /// directory.
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
        // The program goes on writing, so its output must be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: first, internal, _temporary: temporary }
    }

    /// Runs an example that ends by itself. Returns whether it succeeded, its output and its error output.
    pub fn run(name: &str, arguments: &[&str]) -> (bool, String, String) {
        let (mut command, _temporary) = with_temporary_files(&build(name));
        let output = command.args(arguments).output().expect("it was built");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Sends SIGTERM, and waits until the program ends. Whether it ended in order.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn stops_when_asked(&mut self) -> bool {
        assert!(servers::signal(servers::Signal::SIGTERM, &[self.process.id()]), "SIGTERM");
        self.process.wait().expect("a child").success()
    }

    /// The URL of a path of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// An example that consumes messages or jobs. It is killed with the test.
pub struct Worker {
    process: Child,
    _temporary: TempDir,
}

impl Worker {
    /// Starts it and does not wait for anything.
    pub fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (mut command, temporary) = with_temporary_files(&build(name));
        let process = command.args(arguments).envs(variables.iter().copied()).stdout(Stdio::null()).spawn();
        Self { process: process.expect("it was built"), _temporary: temporary }
    }

    /// Stops it.
    pub fn freeze(&self) {
        servers::freeze(self.process.id());
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        assert!(servers::signal(servers::Signal::SIGCONT, &[self.process.id()]), "it runs");
    }

    /// Whether it ended by itself with success. `None` while it runs.
    pub fn ended(&mut self) -> Option<bool> {
        self.process.try_wait().expect("a process").map(|status| status.success())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command, and the directory of its temporary files, which are removed with the directory, however the command ends.
pub(crate) fn with_temporary_files(program: &Path) -> (Command, TempDir) {
    let directory = directory::in_memory();
    let mut command = Command::new(program);
    command.env("TMPDIR", directory.path());
    (command, directory)
}

/// Builds the examples as the tests are built, once for the process.
///
/// # Panics
/// When they do not compile.
pub fn build_all() {
    static BUILT: LazyLock<bool> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--workspace", "--all-features", "--examples"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        // Cargo describes the test's package by these variables. A dependency's build script asks for some of them, so with
        // other values than in the build of the tests, it and all that needs it would be compiled again.
        for (name, _) in std::env::vars_os() {
            let described =
                name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
            if described {
                cargo.env_remove(name);
            }
        }
        cargo.status().expect("cargo runs").success()
    });
    assert!(*BUILT, "the examples do not compile");
}

/// The path of an example's program.
fn build(name: &str) -> PathBuf {
    build_all();
    let program = std::env::current_exe().expect("a path");
    // The path goes from target/debug/deps/TEST to target/debug/examples/NAME.
    program.ancestors().nth(2).expect("a target directory").join("examples").join(name)
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
