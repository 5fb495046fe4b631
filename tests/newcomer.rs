//! Checks that the README's commands work for a newcomer in an empty folder, on every store that it names. It compiles the
//! runtime as newcomers do, which takes long, so `.ci/run` runs it.

// A test that cannot go on panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "examples/readme.rs"]
mod readme;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use readme::{blocks, printed_by, session};
use support::{
    example::{Example, build_all},
    postgres::Postgres,
    redis_server::RedisServer,
};

/// A program outside this project, made with the README's own commands.
struct Newcomer {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Newcomer {
    fn begin() -> Self {
        // Before the newcomer's build locks the folder that both use.
        build_all();
        let folder = tempfile::tempdir().unwrap();
        // Puts the project where the README expects it.
        symlink(env!("CARGO_MANIFEST_DIR"), folder.path().join("idempotent")).unwrap();
        let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
        let newcomer = Self { folder, target };
        newcomer.type_in(newcomer.folder.path(), blocks("sh")[0]);
        // Uses the versions that this project is tested with. They are already on this machine.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
        fs::copy(lock, newcomer.package().join("Cargo.lock")).unwrap();
        newcomer
    }

    fn package(&self) -> PathBuf {
        self.folder.path().join("pay")
    }

    fn type_in(&self, folder: &Path, commands: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-ec", commands]).current_dir(folder).env("CARGO_TARGET_DIR", &self.target);
        // Compiles the dependencies with the settings used here, so that those that fit are not compiled again.
        shell.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_TERM_QUIET", "true");
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}: {said}");
        // There is no warning in the newcomer's code or in ours. Our features differ here from those in the other
        // tests.
        assert!(!said.contains("warning:"), "{commands}: {said}");
    }

    fn run(&self, program: &str, variables: &[(&str, &str)]) -> Example {
        fs::write(self.package().join("src/main.rs"), program).unwrap();
        self.type_in(&self.package(), "cargo build");
        Example::of(&self.target.join("debug/pay"), variables, Some(&self.package()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_in_an_empty_folder_is_answered_with_a_replay_on_each_store() {
    let newcomer = Newcomer::begin();
    let program = blocks("rust")[0];
    let with = |store: &str| program.replace("let store = idempotent_runtime::MemoryStore::new();", store);
    let [sqlite, postgres, over_redis] = blocks("rust")[1].split("\n\n").collect::<Vec<_>>()[..] else {
        panic!("three stores")
    };
    let (redis, database) = (RedisServer::start(), Postgres::shared().new_url().await);
    let answers = |service: &Example| {
        for (command, output) in session() {
            assert_eq!(printed_by(command, &service.address), output, "{command}");
        }
    };
    // The comments have the form `// SQLite: command; command`. They come first, so that the dependencies are compiled
    // once.
    let [on_sqlite, on_postgres] = [sqlite, postgres].map(|store| {
        let (comment, lines) = store.split_once('\n').unwrap();
        newcomer.type_in(&newcomer.package(), comment.split_once(": ").unwrap().1);
        with(lines)
    });
    answers(&newcomer.run(program, &[]));
    answers(&newcomer.run(&on_sqlite, &[]));
    answers(&newcomer.run(&on_postgres, &[("DATABASE_URL", &database)]));
    two_tokens_of_one_user_are_one_caller(&newcomer, program);
    answers(&newcomer.run(&with(over_redis), &[("REDIS_URL", &redis.url())]));
}

/// The README's handler for callers with tokens, with an extractor as the newcomer's service has one.
fn two_tokens_of_one_user_are_one_caller(newcomer: &Newcomer, program: &str) {
    let old = program.split("#[idempotent(").nth(1).and_then(|rest| rest.split_once("{\n")).unwrap().0;
    let new = blocks("rust")[2].trim_start_matches("#[idempotent(").trim_end().trim_end_matches('{');
    let user = "
struct User { id: String }

impl<S: Sync> axum::extract::FromRequestParts<S> for User {
    type Rejection = StatusCode;

    // Stands for the check of a token: user and time, such as `ann.1`.
    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, StatusCode> {
        let token = parts.headers.get(\"authorization\").and_then(|token| token.to_str().ok());
        let id = token.and_then(|token| token.split('.').next()).ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self { id: id.to_owned() })
    }
}
";
    let service = newcomer.run(&(program.replace(old, new) + user), &[]);
    let pay = |token: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", &service.url("/payments"), "--json", "4200"]);
        curl.args(["-H", "Idempotency-Key: k", "-H", &format!("Authorization: {token}")]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(["ann.1", "ann.2", "bob.1"].map(pay), [1, 1, 2].map(|number| format!("payment {number}: 4200 cents\n")));
}
