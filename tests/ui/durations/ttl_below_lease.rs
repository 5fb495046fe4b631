use idempotent_runtime::idempotent;

#[idempotent(ttl = "10s", lease = "1m")]
async fn create() {}

#[idempotent(ttl = "10s")]
async fn refund() {}

#[idempotent(lease = "20h", ttl = "19h 59m")]
async fn cancel() {}

fn main() {}
