use idempotent_runtime::idempotent;

#[idempotent(expires = "24h")]
async fn create() {}

#[idempotent(timeout = "30s")]
async fn refund() {}

#[idempotent(lock = "30s")]
async fn cancel() {}

#[idempotent(retry = "5s")]
async fn capture() {}

#[idempotent(optional = true)]
async fn settle() {}

#[idempotent(user = user.id)]
async fn dispute() {}

#[idempotent(header = "X-Key")]
async fn renew() {}

#[idempotent(namespace = "payments")]
async fn close() {}

fn main() {}
