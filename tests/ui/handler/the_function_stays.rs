use axum::{Json, Router, extract::State, routing::post};
use idempotent_runtime::idempotent;

#[idempotent(tll = "24h")]
async fn create(State(name): State<String>, Json(body): Json<String>) -> String {
    format!("{name}{body}")
}

fn main() {
    let _: Router<String> = Router::new().route("/", post(create));
}
