use idempotent_runtime::idempotent;

struct Payments;

impl Payments {
    #[idempotent(ttl = "24h")]
    async fn create(&self, body: String) -> String {
        body
    }
}

fn main() {}
