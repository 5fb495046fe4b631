use idempotent_runtime::idempotent;

#[idempotent(ttl = 60)]
async fn create() {}

#[idempotent(ttl = "60")]
async fn refund() {}

#[idempotent(ttl = 24h)]
async fn cancel() {}

#[idempotent(wait = 1.5)]
async fn capture() {}

#[idempotent(lease = 30u64)]
async fn settle() {}

fn main() {}
