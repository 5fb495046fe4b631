use axum::Json;
use idempotent_runtime::idempotent;

trait Payments {
    async fn create(body: Json<String>) -> String;
}

struct Postgres;

impl Payments for Postgres {
    #[idempotent(ttl = "24h")]
    async fn create(Json(body): Json<String>) -> String {
        body
    }
}

fn main() {}
