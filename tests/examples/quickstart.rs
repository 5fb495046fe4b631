//! Checks that the programs in README.md are the examples, and that its commands print what it shows.

use std::{fs, path::Path};

use support::{example::Example, redis_server::RedisServer};

use crate::readme::{README, blocks, printed_by, session};

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
}

/// The README's program without its first line. In the example that line is a comment about the example.
fn body(program: &str) -> &str {
    program.split_once('\n').unwrap().1
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
    // `tests/newcomer.rs` runs the one for Postgres.
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
