use idempotent_runtime::idempotent;

struct Payments;

impl Payments {
    const GREETING: &str = "hello";

    #[idempotent]
    #[shout::shout]
    async fn greet() -> String {
        Self::GREETING.to_owned()
    }
}

fn main() {}
