use idempotent_runtime::idempotent;

#[idempotent(ttl = "30M")]
async fn create() {}

fn main() {}
