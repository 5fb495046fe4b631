use idempotent_runtime::idempotent;

#[idempotent(replay = success)]
async fn create() {}

#[idempotent(takeover = Takeover::Refuse)]
async fn refund() {}

#[idempotent(key = 7)]
async fn cancel() {}

#[idempotent(replay = never)]
async fn capture() {}

fn main() {}
