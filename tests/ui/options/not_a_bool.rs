use idempotent_runtime::idempotent;

#[idempotent(required = "false")]
async fn create() {}

#[idempotent(required = 0)]
async fn refund() {}

#[idempotent(required = no)]
async fn cancel() {}

fn main() {}
