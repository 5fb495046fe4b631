#![allow(dead_code, unused_variables)]

mod no_idempotency {
    use idempotent_runtime::idempotent;

    #[idempotent(store = "extension")]
    async fn quoted() {}

    #[idempotent(store = 7_u8)]
    async fn number() {}
}

fn main() {}
