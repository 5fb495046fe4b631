use idempotent_runtime::idempotent;

#[idempotent(ttl = "200years")]
async fn create() {}

#[idempotent(ttl = "99999999999999999999s")]
async fn refund() {}

#[idempotent(lease = "2days", ttl = "7days")]
async fn cancel() {}

fn main() {}
