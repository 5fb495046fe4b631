use axum::Json;
use idempotent_runtime::idempotent;

#[idempotent(ttl = 60, tll = "24h", replay = "sometimes", wait)]
fn create(Json(body): Json<String>, _: &str) -> String {
    body
}

fn main() {}
