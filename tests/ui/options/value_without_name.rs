use idempotent_runtime::idempotent;

#[idempotent("24h")]
async fn create() {}

#[idempotent(60)]
async fn refund() {}

fn main() {}
