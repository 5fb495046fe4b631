use idempotent_runtime::idempotent;

#[idempotent(wait = "2days")]
async fn create() {}

#[idempotent(ttl = "1m", wait = "90s")]
async fn refund() {}

fn main() {}
