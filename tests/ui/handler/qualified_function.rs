use idempotent_runtime::idempotent;

#[idempotent]
const async fn create() {}

#[idempotent]
async unsafe fn refund() {}

#[idempotent]
async extern "C" fn cancel() {}

fn main() {}
