use idempotent_runtime::idempotent;

trait Payments {
    #[idempotent(ttl = "24h")]
    async fn create(body: String) -> String;
}

fn main() {}
