use idempotent_runtime::idempotent;

#[idempotent]
async unsafe extern "C" fn create(_count: u32, _: ...) {}

fn main() {}
