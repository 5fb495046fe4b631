use idempotent_runtime::idempotent;

#[idempotent(ttl("24h"))]
async fn create() {}

fn main() {}
