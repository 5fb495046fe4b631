use idempotent_runtime::{Claim, idempotent};

#[idempotent(scope = claim.derive_key("x"))]
async fn create(claim: Claim, _body: String) {}

#[idempotent(key = claim.key().unwrap_or_default())]
async fn refund(claim: Claim, _body: String) {}

fn main() {}
