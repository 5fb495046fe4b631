use idempotent_runtime::idempotent;

#[idempotent(tll = "24h")]
async fn create() {}

#[idempotent(lese = "30s")]
async fn refund() {}

#[idempotent(requird = false)]
async fn cancel() {}

#[idempotent(takover = "refuse")]
async fn capture() {}

#[idempotent(colour = "red")]
async fn settle() {}

fn main() {}
