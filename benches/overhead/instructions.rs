//! Counts the user instructions of a request with callgrind, which runs this program again for every case.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    case::{Backend, Case, Phase, Variant},
    redis_server::RedisServer,
};

/// Each case runs with two numbers of requests; what starting costs is in both, and so not in their difference.
const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Prints the table for these stores.
pub(crate) fn compare(backends: &[Backend]) {
    println!(
        "| store | request | bare | by hand | by hand, extractor first | ours | ours ÷ by hand | ÷ extractor first |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    for &backend in backends {
        let server = (backend == Backend::Redis).then(RedisServer::start);
        let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
        for phase in Phase::ALL {
            let [bare, by_hand, extracted, ours] =
                Variant::ALL.map(|variant| per_request(Case { variant, phase, backend }, &url));
            println!(
                "| {} | {} | {bare:.0} | {by_hand:.0} | {extracted:.0} | {ours:.0} | {:.2} | {:.2} |",
                backend.name(),
                phase.name(),
                ours / by_hand,
                ours / extracted
            );
        }
    }
}

/// Prints the functions in which most instructions are spent, with what they call and without.
pub(crate) fn profile(case: Case) {
    let server = (case.backend == Backend::Redis).then(RedisServer::start);
    let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
    let file = callgrind(case, MANY, &url);
    for inclusive in ["--inclusive=yes", "--inclusive=no"] {
        let annotated = Command::new("callgrind_annotate").args([inclusive, "--auto=no"]).arg(&file).output().unwrap();
        println!("== {} {} {}, {inclusive}", case.variant.name(), case.phase.name(), case.backend.name());
        let text = String::from_utf8_lossy(&annotated.stdout).into_owned();
        for line in text.lines().filter(|line| line.contains('%')).take(70) {
            println!("{:.220}", line.trim());
        }
    }
    println!("of {MANY} requests; the whole profile: {}", file.display());
}

#[allow(clippy::cast_precision_loss)]
fn per_request(case: Case, redis: &str) -> f64 {
    let [few, many] = [FEW, MANY].map(|count| {
        let file = callgrind(case, count, redis);
        let total = total(&file);
        fs::remove_file(file).unwrap();
        total
    });
    (many - few) as f64 / (MANY - FEW) as f64
}

fn callgrind(case: Case, count: u64, redis: &str) -> PathBuf {
    let [variant, phase, backend] = [case.variant.name(), case.phase.name(), case.backend.name()];
    let file = env::temp_dir().join(format!("callgrind.{}.{variant}.{phase}.{backend}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe().unwrap())
        .args(["in-process", variant, phase, backend, &count.to_string(), redis])
        .output()
        .expect("install valgrind");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

fn total(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    line.expect("callgrind's total").trim().parse().unwrap()
}
