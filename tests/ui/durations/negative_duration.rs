use idempotent_runtime::idempotent;

#[idempotent(ttl = "-1h")]
async fn create() {}

#[idempotent(lease = -30)]
async fn refund() {}

fn main() {}
