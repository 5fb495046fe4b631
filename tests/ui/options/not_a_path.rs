use idempotent_runtime::idempotent;

#[idempotent(crate = "idempotent_runtime")]
async fn create() {}

fn main() {}
