use idempotent_runtime::idempotent;

#[idempotent(crate = elsewhere)]
async fn create() {}

fn main() {}
