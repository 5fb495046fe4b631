use idempotent_runtime::idempotent;

#[idempotent]
async fn create(_body: &str) {}

fn main() {}
