use axum::{Router, routing::post};
use idempotent_runtime::idempotent;

#[idempotent]
async fn create(_body: String) {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
