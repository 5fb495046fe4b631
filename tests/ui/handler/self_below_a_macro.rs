use idempotent_runtime::idempotent;

struct Payments;

impl Payments {
    const GREETING: &str = "hello";

    #[idempotent]
    #[cached::proc_macro::cached]
    async fn greet() -> &'static str {
        Self::GREETING
    }
}

fn main() {}
