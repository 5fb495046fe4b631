use idempotent_runtime::idempotent;

#[idempotent(ttl = "24h", lease = "10s", ttl = "12h")]
async fn create() {}

fn main() {}
