use idempotent_runtime::idempotent;

#[idempotent(replay = "sucess")]
async fn create() {}

#[idempotent(replay = "2xx")]
async fn refund() {}

#[idempotent(takeover = "reject")]
async fn cancel() {}

#[idempotent(takeover = "re-run")]
async fn capture() {}

#[idempotent(key = "uuid7")]
async fn settle() {}

#[idempotent(key = "ulid")]
async fn dispute() {}

fn main() {}
