use idempotent_runtime::idempotent;

#[idempotent(ttl = "24h")]
fn create(body: String) -> String {
    body
}

fn main() {}
