//! What a crash leads to in a handler of three steps: the server process is killed before, inside and after each of
//! them, over every store that outlives its process, with `Claim::step` and with `Claim::step_in`. Then it is started
//! again and the client retries.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, State},
    http::HeaderMap,
    routing::post,
};
use futures_util::{StreamExt, stream};
use reqwest::Client;
use support::{
    journal_process::JournalServer, ledger::Ledger, postgres::Postgres, redis_server::RedisServer, shop::again_while,
};
use tokio::{net::TcpListener, task::block_in_place};

use crate::{is_documented, new_file};

const STEPS: [&str; 3] = ["charge", "order", "mail"];
const WHERE: [&str; 3] = ["before", "in", "after"];

/// A store, and how the steps are saved.
#[derive(Clone, Copy, Debug)]
struct Column {
    name: &'static str,
    redis: bool,
    step_in: bool,
}

const COLUMNS: [Column; 4] = [
    Column { name: "Redis, `step`", redis: true, step_in: false },
    Column { name: "Redis + journal, `step_in`", redis: true, step_in: true },
    Column { name: "`SqlStore`, `step`", redis: false, step_in: false },
    Column { name: "`SqlStore`, `step_in`", redis: false, step_in: true },
];

/// The provider and the mail service: each does its work once for each key.
#[derive(Clone, Default)]
struct Services(Arc<Mutex<Vec<(String, String)>>>);

impl Services {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let routes = Router::new().route("/{step}", post(serve)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        address
    }

    /// The key of each request that asked for a step.
    fn keys(&self, step: &str) -> Vec<String> {
        let asked = self.0.lock().expect("no panic");
        asked.iter().filter(|(for_step, _)| for_step == step).map(|(_, key)| key.clone()).collect()
    }
}

/// The same answer to every request with the same key.
async fn serve(State(services): State<Services>, Path(step): Path<String>, headers: HeaderMap) -> String {
    let key = headers["idempotency-key"].to_str().expect("a key").to_owned();
    let mut asked = services.0.lock().expect("no panic");
    let known = asked.iter().filter(|known| known.0 == step).position(|known| known.1 == key);
    let number = known.unwrap_or(asked.iter().filter(|known| known.0 == step).count());
    asked.push((step.clone(), key));
    format!("{step} {number}")
}

/// The answer to a checkout: its status, whether it was replayed, its body.
type Answer = (u16, bool, String);

async fn check_out(server: SocketAddr, stop: Option<&str>) -> Result<Answer, reqwest::Error> {
    let request = Client::new().post(format!("http://{server}/checkouts")).header("idempotency-key", "k");
    let answer = request.header("x-stop-at", stop.unwrap_or_default()).send().await?;
    let (status, replayed) = (answer.status().as_u16(), answer.headers().contains_key("idempotent-replayed"));
    Ok((status, replayed, answer.text().await?))
}

/// Retries after a pause for as long as the first attempt is said to be running, as a client does.
async fn insist(server: SocketAddr) -> Answer {
    again_while(|answer: &Answer| answer.0 == 409, || check_out(server, None)).await
}

/// Kills a server at the point, retries on another one, and tells which steps ran in each.
async fn crash(database: &str, redis: &str, column: Column, point: &str) -> [Vec<String>; 2] {
    let services = Services::default();
    let address = services.start().await;
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steps-server"));
        command.env("DATABASE_URL", database).env("SERVICES_URL", format!("http://{address}"));
        command.env_remove("REDIS_URL").env_remove("STEP_IN");
        command.envs(column.redis.then_some(("REDIS_URL", redis)));
        command.envs(column.step_in.then_some(("STEP_IN", "yes")));
        block_in_place(|| JournalServer::spawn(command))
    };
    let server = start();
    let (to, stop) = (server.address, point.to_owned());
    let lost = tokio::spawn(async move { check_out(to, Some(&stop)).await });
    let first = block_in_place(|| server.said_until(point));
    server.kill();
    assert!(lost.await.expect("no panic").is_err(), "the client heard nothing");

    let server = start();
    let answer = insist(server.address).await;
    assert_eq!(answer, (201, false, "order of charge 0, mail 0".to_owned()), "{point}, {}", column.name);
    assert_eq!(insist(server.address).await, (201, true, answer.2), "{point}, {}", column.name);
    let second = server.said();

    // Each effect happened once, and each service was always asked with the same key.
    for step in ["charge", "mail"] {
        let keys = services.keys(step);
        let ran = first.iter().chain(&second).filter(|line| **line == format!("ran {step}")).count();
        assert_eq!(keys.len(), ran, "{step}: {point}, {}", column.name);
        assert!(keys.iter().all(|key| *key == keys[0]), "{step}: {point}, {}: {keys:?}", column.name);
    }
    let orders = Ledger::connect(database).await.number("SELECT COUNT(*) FROM payments").await;
    assert_eq!(orders, 1, "{point}, {}", column.name);
    [first, second]
        .map(|lines| lines.into_iter().filter_map(|line| line.strip_prefix("ran ").map(str::to_owned)).collect())
}

/// Which steps have to run in the process that is killed, and which in the next one. A saved step does not run again.
fn promised(at: &str, step: usize) -> [Vec<String>; 2] {
    let (ran, saved) = match at {
        "before" => (step, step),
        "in" => (step + 1, step),
        _ => (step + 1, step + 1),
    };
    [&STEPS[..ran], &STEPS[saved..]].map(|steps| steps.iter().map(|&step| step.to_owned()).collect())
}

async fn matrix(new_database: impl AsyncFn() -> String) -> String {
    let points: Vec<(&str, usize)> = (0..3).flat_map(|step| WHERE.map(|at| (at, step))).collect();
    let cells = points.iter().flat_map(|point| COLUMNS.iter().map(move |column| (*point, *column)));
    let tasks = cells.map(async |((at, step), column)| {
        let (database, server) = (new_database().await, column.redis.then(RedisServer::start));
        let point = format!("{at}-{}", STEPS[step]);
        let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
        let ran = tokio::spawn(async move { crash(&database, &url, column, &point).await }).await.expect("no panic");
        assert_eq!(ran, promised(at, step), "{at} {}, {}", STEPS[step], column.name);
        drop(server);
        ran
    });
    let ran: Vec<[Vec<String>; 2]> = stream::iter(tasks).buffered(6).collect().await;

    // Every column has the promised result, so one table is enough for all columns.
    let mut table = String::from("| killed | steps that had run | run by the retry |\n|---|---|---|\n");
    for ((at, step), row) in points.iter().zip(ran.chunks(COLUMNS.len())) {
        let words = match *at {
            "before" => "before",
            "in" => "inside, its effect done and not saved",
            _ => "after",
        };
        let [first, second] =
            [0, 1].map(|which| if row[0][which].is_empty() { "none".to_owned() } else { row[0][which].join(", ") });
        writeln!(table, "| {}: {words} | {first} | {second} |", STEPS[*step]).expect("a string");
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_before_inside_or_after_a_step_each_effect_is_there_once_on_sqlite() {
    let directory = support::directory::in_memory();
    is_documented(&matrix(async || new_file(&directory)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_before_inside_or_after_a_step_each_effect_is_there_once_on_postgres() {
    is_documented(&matrix(async || Postgres::shared().new_url().await).await);
}
