use std::time::Duration;

use idempotent_runtime::idempotent;

const SHORT: Duration = Duration::from_secs(10);
const NOTHING: Duration = Duration::ZERO;

#[idempotent(ttl = SHORT)]
async fn create() {}

#[idempotent(ttl = "24h", lease = NOTHING)]
async fn refund() {}

fn main() {}
