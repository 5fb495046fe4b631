use idempotent_runtime::idempotent;

#[idempotent(= "24h")]
async fn create() {}

#[idempotent(ttl = "24h", , lease = "30s")]
async fn refund() {}

fn main() {}
