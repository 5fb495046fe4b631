use idempotent_runtime::idempotent;

#[idempotent(ttl = "24h" lease = "30s")]
async fn create() {}

#[idempotent(ttl = 24 h)]
async fn refund() {}

fn main() {}
