use std::pin::Pin;

use idempotent_runtime::idempotent;

trait Payments {
    fn create<'async_trait>(body: String) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>>;
}

struct Postgres;

// What `#[async_trait]` makes of an `async fn`.
impl Payments for Postgres {
    #[idempotent(ttl = "24h")]
    fn create<'async_trait>(body: String) -> Pin<Box<dyn Future<Output = String> + Send + 'async_trait>> {
        Box::pin(async move { body })
    }
}

fn main() {}
