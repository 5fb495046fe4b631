use idempotent_runtime::idempotent;

#[idempotent(ttl =)]
async fn create() {}

#[idempotent(ttl = , lease = "30s")]
async fn refund() {}

#[idempotent(ttl = "24h", scope =)]
async fn cancel() {}

fn main() {}
