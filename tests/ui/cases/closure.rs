use idempotent_runtime::idempotent;

fn main() {
    let _create = #[idempotent(ttl = "24h")]
    async || {};
}
