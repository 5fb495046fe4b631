use idempotent_runtime::idempotent;

#[idempotent(ttl = "1 fortnight")]
async fn create() {}

#[idempotent(ttl = "soon")]
async fn refund() {}

#[idempotent(ttl = "")]
async fn cancel() {}

#[idempotent(ttl = "24:00")]
async fn capture() {}

fn main() {}
