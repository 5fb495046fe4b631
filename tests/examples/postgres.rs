//! Checks what the example `postgres` says of itself.

use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder};
use sqlx::{Connection, PgConnection};
use support::{
    example::Example,
    postgres::Postgres,
    proxy::{Loss, Proxy},
};

use crate::{send, send_until_answered};

const ORDER: &str = r#"{"item":"lamp","cents":4200}"#;

async fn order(service: &Example, key: &str) -> (u16, bool, String) {
    send_until_answered(request(service, key)).await
}

fn request(service: &Example, key: &str) -> RequestBuilder {
    Client::new().post(service.url("/orders")).header("idempotency-key", key).body(ORDER)
}

async fn orders(database: &mut PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(database).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_many_retries_at_two_processes_make_one_order_and_a_third_process_replays_it() {
    let url = Postgres::shared().new_url().await;
    let start = || Example::start("postgres", &[("DATABASE_URL", &url)]);
    let (one, another) = (start(), start());
    let answers = join_all((0..20).map(|n| order(if n % 2 == 0 { &one } else { &another }, "order-1"))).await;
    assert!(answers.iter().any(|(status, replayed, _)| (*status, *replayed) == (201, false)), "{answers:?}");
    assert!(answers.iter().all(|(status, ..)| [201, 409].contains(status)), "{answers:?}");
    // Kills both processes, as a crash would.
    drop((one, another));
    let (status, replayed, body) = order(&start(), "order-1").await;
    assert_eq!((status, replayed, body.as_str()), (201, true, r#"{"id":1,"item":"lamp","cents":4200}"#));
    assert_eq!(orders(&mut PgConnection::connect(&url).await.unwrap()).await, 1);
}

/// The order is committed, but its process has not learnt of it. A response that is stored separately would be lost at
/// this moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_an_order_whose_commit_was_not_acknowledged_is_replayed_and_not_made_again() {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let service = Example::start("postgres", &[("DATABASE_URL", &Postgres::url_at(proxy.address(), &database))]);
    proxy.lose_next_commit(Loss::AnswerLost);
    let first = send(request(&service, "order-1")).await;
    assert!(proxy.has_lost(), "{first:?}");
    let (status, replayed, body) = order(&service, "order-1").await;
    assert_eq!((status, replayed, body.as_str()), (201, true, r#"{"id":1,"item":"lamp","cents":4200}"#), "{first:?}");
    let url = Postgres::url_at(server.address(), &database);
    assert_eq!(orders(&mut PgConnection::connect(&url).await.unwrap()).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_postgres_an_order_that_is_not_committed_leaves_no_response_behind() {
    let url = Postgres::shared().new_url().await;
    let service = Example::start("postgres", &[("DATABASE_URL", &url)]);
    let mut database = PgConnection::connect(&url).await.unwrap();
    // The insertion succeeds, and then COMMIT fails.
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();";
    sqlx::raw_sql(refuse).execute(&mut database).await.unwrap();
    let (status, ..) = send(request(&service, "order-1")).await;
    assert!(status >= 500, "{status}");
    assert_eq!(orders(&mut database).await, 0);
    sqlx::raw_sql("DROP TRIGGER refuse ON orders").execute(&mut database).await.unwrap();
    let (status, replayed, body) = order(&service, "order-1").await;
    assert_eq!((status, replayed), (201, false), "{body}");
    assert_eq!(orders(&mut database).await, 1);
}
