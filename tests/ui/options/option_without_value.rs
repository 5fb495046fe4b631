use idempotent_runtime::idempotent;

#[idempotent(ttl)]
async fn create() {}

#[idempotent(required)]
async fn refund() {}

#[idempotent(ttl, scope)]
async fn cancel() {}

#[idempotent(crate)]
async fn capture() {}

fn main() {}
