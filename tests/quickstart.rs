//! What README.md tells a newcomer to type does what it says, on every store that it names.

mod support;

use std::{fs, path::Path, process::Command};

use support::{example::Example, redis_server::RedisServer};

const README: &str = include_str!("../README.md");

/// The fenced blocks of a language, in their order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
}

/// The README's program without its first line, which says in an example what it is an example of.
fn body(program: &str) -> &str {
    program.split_once('\n').unwrap().1
}

/// The commands that the README shows, each with what it prints.
fn session() -> Vec<(&'static str, String)> {
    let runs = blocks("console")[0].split("$ ").skip(1);
    runs.map(|run| run.split_once('\n').unwrap()).map(|(command, output)| (command, in_order(output))).collect()
}

/// What a command prints, but for the date and the order of the headers.
fn printed_by(command: &str, address: &str) -> String {
    let command = command.replace("127.0.0.1:3000", address).replace("curl ", "curl -sS ");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    in_order(&text)
}

/// A response as `curl -i` prints it; nothing depends on the order of its headers.
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

/// The README's line for a store, put where it says, gives the example of that store.
#[test]
fn the_stores_of_the_readme_are_the_examples() {
    let stores: Vec<&str> = blocks("rust")[1].split("\n\n").collect();
    assert_eq!(stores.len(), 2);
    for (lines, name) in stores.iter().zip(["sqlite.rs", "redis.rs"]) {
        let lines = lines.trim().lines().fold(String::new(), |text, line| format!("{text}    {line}\n"));
        let program = blocks("rust")[0].replace("    let store = MemoryStore::new();\n", &lines);
        let program = program.replace("{Idempotency, MemoryStore, idempotent}", "{Idempotency, idempotent}");
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

/// The first process is killed after its answer; the second one replays it.
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

/// The second process never saw the first request.
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
    assert!(lines <= 130, "{lines} lines");
}
