//! Measures how much memory a record takes in Redis. `benches/sizing/run` writes the table of `docs/operations.md`
//! again.
//!
//! Takes the URL of a Redis that nobody else uses at the time. Its records are removed at the end.

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::FromRef,
    http::{Method, Request, StatusCode},
    routing::post,
};
use idempotent_runtime::{Idempotency, RedisStore, RequestName, idempotent};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const RECORDS: usize = 10_000;
const RESPONSES: [usize; 5] = [0, 200, 1_024, 4_096, 16_384];
const ROUTE: &str = "/payments";

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
}

#[idempotent(ttl = "24h")]
async fn pay(size: String) -> (StatusCode, String) {
    (StatusCode::CREATED, "x".repeat(size.parse().unwrap_or(0)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("the URL of a Redis is missing")?;
    let mut redis = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let patient = RedisStore::builder().response_timeout(Duration::from_secs(5));
    let idempotency = Idempotency::builder(patient.connect(&url).await?).namespace("sizing").build();
    let app = Router::new().route(ROUTE, post(pay)).with_state(App { idempotency: idempotency.clone() });

    println!(
        "| response | memory of a record | to Redis, first | from Redis, first | from Redis, replay | CPU, first | CPU, replay |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for size in RESPONSES {
        let before = Cost::of(&mut redis).await?;
        requests(&app, size).await?;
        let first = Cost::of(&mut redis).await?;
        requests(&app, size).await?;
        let replayed = Cost::of(&mut redis).await?;
        println!(
            "| {size} B | {} B | {} B | {} B | {} B | {:.1} µs | {:.1} µs |",
            each(first.memory - before.memory),
            each(first.received - before.received),
            each(first.sent - before.sent),
            each(replayed.sent - first.sent),
            (first.cpu - before.cpu) * 1e6 / f64::from(u32::try_from(RECORDS)?),
            (replayed.cpu - first.cpu) * 1e6 / f64::from(u32::try_from(RECORDS)?),
        );
        for number in 0..RECORDS {
            idempotency.forget(&RequestName::new(Method::POST, ROUTE, &key(size, number))).await?;
        }
    }
    Ok(())
}

fn each(total: i64) -> i64 {
    total / i64::try_from(RECORDS).unwrap_or(1)
}

/// A key as long as a UUID, which is what clients use.
fn key(size: usize, number: usize) -> String {
    format!("{size:08x}-0000-4000-8000-{number:012x}")
}

async fn requests(app: &Router, size: usize) -> Result<(), Box<dyn Error>> {
    let mut under_way = JoinSet::new();
    for number in 0..RECORDS {
        let request =
            Request::post(ROUTE).header("idempotency-key", key(size, number)).body(Body::from(size.to_string()))?;
        under_way.spawn(app.clone().oneshot(request));
        if under_way.len() >= 50 {
            under_way.join_next().await;
        }
    }
    while let Some(answer) = under_way.join_next().await {
        assert_eq!(answer??.status(), StatusCode::CREATED);
    }
    Ok(())
}

/// What the server has used so far.
struct Cost {
    memory: i64,
    received: i64,
    sent: i64,
    cpu: f64,
}

impl Cost {
    async fn of(redis: &mut MultiplexedConnection) -> Result<Self, Box<dyn Error>> {
        let info: String = redis::cmd("INFO").query_async(redis).await?;
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.ok_or_else(|| format!("INFO has no {name}"))
        };
        Ok(Self {
            memory: field("used_memory")?.parse()?,
            received: field("total_net_input_bytes")?.parse()?,
            sent: field("total_net_output_bytes")?.parse()?,
            cpu: field("used_cpu_user")?.parse::<f64>()? + field("used_cpu_sys")?.parse::<f64>()?,
        })
    }
}
