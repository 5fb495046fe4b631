use idempotent_runtime::idempotent;

#[idempotent(ttl = "0s")]
async fn create() {}

#[idempotent(lease = "0ms")]
async fn refund() {}

#[idempotent(wait = "0s")]
async fn cancel() {}

fn main() {}
