use idempotent_runtime::idempotent;

#[idempotent(lease = "50ms")]
async fn create() {}

#[idempotent(lease = "2500us")]
async fn refund() {}

#[idempotent(wait = "1ns")]
async fn cancel() {}

fn main() {}
