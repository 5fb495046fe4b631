//! The payment service of the journal's tests in its own process, so that a test can kill it.
//!
//! `DATABASE_URL`, perhaps `REDIS_URL` or `STORE=database`, and `JOURNAL` (`commit`, `record` or `none`) say what it
//! runs on. It prints its address. When a request asks to stop at a point (header `x-stop-at`), it prints `reached
//! POINT`. Then it waits to be killed, or for a line of input, which lets it go on.

use std::{env, time::Duration};

use idempotent_runtime::{Idempotency, IdempotencyBuilder, MemoryStore};
use tokio::net::TcpListener;

use support::{
    app::{self, App, Way},
    ledger::Ledger,
    redis_store,
};

#[tokio::main]
async fn main() {
    let ledger = Ledger::connect(&env::var("DATABASE_URL").expect("DATABASE_URL")).await;
    let way = match env::var("JOURNAL").as_deref() {
        Ok("commit") => Way::Commit,
        Ok("record") => Way::Record,
        _ => Way::Plain,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address"));
    let app = app(ledger, way).await;
    let stops = app.stops.clone();
    std::thread::spawn(move || std::io::stdin().lines().for_each(|_| stops.go_on.notify_one()));
    axum::serve(listener, app::routes(app)).await.expect("serves");
}

async fn app(ledger: Ledger, way: Way) -> App {
    if env::var("STORE").is_ok_and(|store| store == "database") {
        return App::on_its_database(ledger, way);
    }
    let builder: IdempotencyBuilder = match env::var("REDIS_URL") {
        Ok(url) => Idempotency::builder(redis_store::patient().connect(&url).await.expect("a Redis")),
        Err(_) => Idempotency::builder(MemoryStore::new()),
    };
    let builder = if way == Way::Plain { builder } else { builder.commit_to(ledger.store()) };
    // The timeout is long, so that a busy machine does not look like an outage.
    App::new(builder.store_timeout(Duration::from_secs(10)).build(), ledger, way)
}
