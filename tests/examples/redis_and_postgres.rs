//! Runs the example `redis_and_postgres` from its start to its graceful shutdown.

use reqwest::Client;
use sqlx::{Connection, PgConnection};
use support::{example::Example, postgres::Postgres, redis_server::RedisServer};

use crate::{send, send_until_answered};

#[test]
fn the_recipe_is_the_example() {
    let page = include_str!("../../docs/cookbook.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Redis and Postgres together")).unwrap();
    let recipe = section.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(include_str!("../../examples/redis_and_postgres.rs").ends_with(recipe));
}

/// An order is made once, also when Redis forgets everything. Operators have their port, and SIGTERM ends the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_claims_in_redis_an_order_in_postgres_is_made_once_though_redis_forgets() {
    let (redis, url) = (RedisServer::start(), Postgres::shared().new_url().await);
    let mut service = Example::start("redis_and_postgres", &[("REDIS_URL", &redis.url()), ("DATABASE_URL", &url)]);
    let order = || {
        send_until_answered(
            Client::new().post(service.url("/orders")).header("idempotency-key", "order-1").body("4200"),
        )
    };
    assert_eq!(order().await, (201, false, "1".to_owned()));
    assert_eq!(order().await, (201, true, "1".to_owned()));
    redis.set(&["FLUSHALL"]);
    assert_eq!(order().await, (201, true, "1".to_owned()));
    let mut database = PgConnection::connect(&url).await.unwrap();
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut database).await.unwrap();
    assert_eq!(orders, 1);

    let internal = format!("http://{}", service.internal.clone().unwrap());
    let metrics = reqwest::get(format!("{internal}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("idempotency_requests_total{"), "{metrics}");
    let lookup =
        Client::new().post(format!("{internal}/idempotency/lookup")).header("content-type", "application/json");
    let (status, _, found) = send(lookup.body(r#"{"key":"order-1"}"#)).await;
    assert!(status == 200 && found.contains("finished"), "{status} {found}");
    assert!(service.stops_when_asked(), "it does not end at SIGTERM");
}
