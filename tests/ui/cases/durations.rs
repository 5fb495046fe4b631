#![allow(dead_code, unused_variables)]

mod constant_of_another_type {
    use idempotent_runtime::idempotent;

    const TTL: u64 = 60;

    #[idempotent(ttl = TTL)]
    async fn create() {}
}

mod constant_out_of_range {
    use std::time::Duration;

    use idempotent_runtime::idempotent;

    const SHORT: Duration = Duration::from_secs(10);
    const NOTHING: Duration = Duration::ZERO;

    #[idempotent(ttl = SHORT)]
    async fn create() {}

    #[idempotent(ttl = "24h", lease = NOTHING)]
    async fn refund() {}
}

mod months {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "30M")]
    async fn create() {}
}

mod negative_duration {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "-1h")]
    async fn create() {}

    #[idempotent(lease = -30)]
    async fn refund() {}
}

mod neither_string_nor_constant {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = Duration::from_secs(60))]
    async fn create() {}

    #[idempotent(ttl = true)]
    async fn refund() {}

    #[idempotent(lease = &LEASE)]
    async fn cancel() {}

    #[idempotent(wait = '5')]
    async fn capture() {}
}

mod number_without_unit {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = 60)]
    async fn create() {}

    #[idempotent(ttl = "60")]
    async fn refund() {}

    #[idempotent(ttl = 24h)]
    async fn cancel() {}

    #[idempotent(wait = 1.5)]
    async fn capture() {}

    #[idempotent(lease = 30u64)]
    async fn settle() {}
}

mod overflowing_duration {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "200years")]
    async fn create() {}

    #[idempotent(ttl = "99999999999999999999s")]
    async fn refund() {}

    #[idempotent(lease = "2days", ttl = "7days")]
    async fn cancel() {}
}

mod too_short_a_lease {
    use idempotent_runtime::idempotent;

    #[idempotent(lease = "50ms")]
    async fn create() {}

    #[idempotent(lease = "2500us")]
    async fn refund() {}

    #[idempotent(wait = "1ns")]
    async fn cancel() {}
}

mod ttl_below_lease {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "10s", lease = "1m")]
    async fn create() {}

    #[idempotent(ttl = "10s")]
    async fn refund() {}

    #[idempotent(lease = "20h", ttl = "19h 59m")]
    async fn cancel() {}
}

mod unreadable_duration {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "1 fortnight")]
    async fn create() {}

    #[idempotent(ttl = "soon")]
    async fn refund() {}

    #[idempotent(ttl = "")]
    async fn cancel() {}

    #[idempotent(ttl = "24:00")]
    async fn capture() {}
}

mod wait_above_ttl {
    use idempotent_runtime::idempotent;

    #[idempotent(wait = "2days")]
    async fn create() {}

    #[idempotent(ttl = "1m", wait = "90s")]
    async fn refund() {}
}

mod zero_duration {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "0s")]
    async fn create() {}

    #[idempotent(lease = "0ms")]
    async fn refund() {}

    #[idempotent(wait = "0s")]
    async fn cancel() {}
}

mod too_short_a_ttl {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "50ms")]
    async fn create() {}
}

fn main() {}
