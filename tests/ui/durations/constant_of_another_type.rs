use idempotent_runtime::idempotent;

const TTL: u64 = 60;

#[idempotent(ttl = TTL)]
async fn create() {}

fn main() {}
