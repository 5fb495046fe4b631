use idempotent_runtime::idempotent;

#[idempotent(ttl = "24h")]
#[idempotent(lease = "10s")]
async fn create() {}

fn main() {}
