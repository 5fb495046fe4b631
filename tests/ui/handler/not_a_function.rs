use idempotent_runtime::idempotent;

#[idempotent]
struct Payment;

#[idempotent(ttl = "24h")]
impl Payment {}

#[idempotent]
pub mod payments {}

#[idempotent]
enum Currency {}

#[idempotent]
static PAYMENTS: () = ();

fn main() {}
