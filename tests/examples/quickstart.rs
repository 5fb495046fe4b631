//! Checks that the commands in README.md work for a newcomer, on every store that it names.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use support::{
    example::{Example, build_all},
    postgres::Postgres,
    redis_server::RedisServer,
};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
}

/// The README's program without its first line. In the example that line is a comment about the example.
fn body(program: &str) -> &str {
    program.split_once('\n').unwrap().1
}

/// The commands that the README shows, each with its output.
fn session() -> Vec<(&'static str, String)> {
    let runs = blocks("console")[0].split("$ ").skip(1);
    runs.map(|run| run.split_once('\n').unwrap()).map(|(command, output)| (command, in_order(output))).collect()
}

/// The output of a command, without the date, and with the headers in a fixed order.
fn printed_by(command: &str, address: &str) -> String {
    let command = command.replace("127.0.0.1:3000", address).replace("curl ", "curl -sS ");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    in_order(&text)
}

/// A response as `curl -i` prints it, with sorted headers, since their order does not matter.
fn in_order(response: &str) -> String {
    let (head, body) = response.split_once("\n\n").unwrap();
    let mut headers: Vec<_> = head.lines().skip(1).filter(|line| !line.starts_with("date: ")).collect();
    headers.sort_unstable();
    format!("{}\n{}\n\n{body}", head.lines().next().unwrap(), headers.join("\n"))
}

#[test]
fn the_program_of_the_readme_is_the_example() {
    assert_eq!(blocks("rust")[0], example("quickstart.rs"));
}

/// With the README's line for a store in the right place, its program is the example of that store.
#[test]
fn the_stores_of_the_readme_are_the_examples() {
    let stores: Vec<&str> = blocks("rust")[1].split("\n\n").collect();
    assert_eq!(stores.len(), 3);
    // With Postgres the newcomer's test runs it.
    for (lines, name) in [(stores[0], "sqlite.rs"), (stores[2], "redis.rs")] {
        let lines = lines.trim().lines().fold(String::new(), |text, line| format!("{text}    {line}\n"));
        let program = blocks("rust")[0].replace("    let store = idempotent_runtime::MemoryStore::new();\n", &lines);
        assert_eq!(body(&program), body(&example(name)));
    }
}

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let service = Example::start("quickstart", &[]);
    let session = session();
    assert_eq!(session.len(), 2);
    for (command, output) in session {
        assert_eq!(printed_by(command, &service.address), output, "{command}");
    }
}

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

/// The first process is killed after its answer. The second process replays that answer.
#[test]
fn over_sqlite_a_restart_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [(command, first), (_, again)] = &session()[..] else { panic!("two commands") };
    let service = Example::start_in("sqlite", &[], directory.path());
    assert_eq!(&printed_by(command, &service.address), first);
    drop(service);
    let service = Example::start_in("sqlite", &[], directory.path());
    assert_eq!(&printed_by(command, &service.address), again);
}

/// The second process has not seen the first request.
#[test]
fn over_redis_one_process_replays_what_another_answered() {
    let redis = RedisServer::start();
    let [(command, first), (_, again)] = &session()[..] else { panic!("two commands") };
    let url = redis.url();
    let (one, another) =
        (Example::start("redis", &[("REDIS_URL", &url)]), Example::start("redis", &[("REDIS_URL", &url)]));
    assert_eq!(&printed_by(command, &one.address), first);
    assert_eq!(&printed_by(command, &another.address), again);
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let lines = README.lines().count();
    assert!(lines <= 150, "{lines} lines");
}
