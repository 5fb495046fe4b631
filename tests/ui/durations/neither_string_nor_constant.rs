use idempotent_runtime::idempotent;

#[idempotent(ttl = Duration::from_secs(60))]
async fn create() {}

#[idempotent(ttl = true)]
async fn refund() {}

#[idempotent(lease = &LEASE)]
async fn cancel() {}

#[idempotent(wait = '5')]
async fn capture() {}

fn main() {}
