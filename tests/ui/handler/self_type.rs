use axum::extract::State;
use idempotent_runtime::idempotent;

struct Payments;

impl Payments {
    const GREETING: &str = "hello";

    #[idempotent]
    async fn create(State(_payments): State<Self>) {}

    #[idempotent]
    async fn greet() -> &'static str {
        Self::GREETING
    }
}

fn main() {}
