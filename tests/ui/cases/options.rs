#![allow(dead_code, unused_variables)]

mod half_typed_option {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl =)]
    async fn create() {}

    #[idempotent(ttl = , lease = "30s")]
    async fn refund() {}

    #[idempotent(ttl = "24h", scope =)]
    async fn cancel() {}
}

mod missing_comma {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "24h" lease = "30s")]
    async fn create() {}

    #[idempotent(ttl = 24 h)]
    async fn refund() {}
}

mod no_option_at_all {
    use idempotent_runtime::idempotent;

    #[idempotent(= "24h")]
    async fn create() {}

    #[idempotent(ttl = "24h", , lease = "30s")]
    async fn refund() {}
}

mod not_a_bool {
    use idempotent_runtime::idempotent;

    #[idempotent(required = "false")]
    async fn create() {}

    #[idempotent(required = 0)]
    async fn refund() {}

    #[idempotent(required = no)]
    async fn cancel() {}
}

mod not_a_path {
    use idempotent_runtime::idempotent;

    #[idempotent(crate = "idempotent_runtime")]
    async fn create() {}
}

mod option_without_value {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl)]
    async fn create() {}

    #[idempotent(required)]
    async fn refund() {}

    #[idempotent(ttl, scope)]
    async fn cancel() {}

    #[idempotent(crate)]
    async fn capture() {}
}

mod parenthesised_value {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl("24h"))]
    async fn create() {}
}

mod repeated_option {
    use idempotent_runtime::idempotent;

    #[idempotent(ttl = "24h", lease = "10s", ttl = "12h")]
    async fn create() {}
}

mod unknown_option {
    use idempotent_runtime::idempotent;

    #[idempotent(tll = "24h")]
    async fn create() {}

    #[idempotent(lese = "30s")]
    async fn refund() {}

    #[idempotent(requird = false)]
    async fn cancel() {}

    #[idempotent(takover = "refuse")]
    async fn capture() {}

    #[idempotent(colour = "red")]
    async fn settle() {}
}

mod unknown_word {
    use idempotent_runtime::idempotent;

    #[idempotent(replay = "sucess")]
    async fn create() {}

    #[idempotent(replay = "2xx")]
    async fn refund() {}

    #[idempotent(takeover = "reject")]
    async fn cancel() {}

    #[idempotent(takeover = "re-run")]
    async fn capture() {}

    #[idempotent(key = "uuid7")]
    async fn settle() {}

    #[idempotent(key = "ulid")]
    async fn dispute() {}
}

mod value_without_name {
    use idempotent_runtime::idempotent;

    #[idempotent("24h")]
    async fn create() {}

    #[idempotent(60)]
    async fn refund() {}
}

mod word_of_another_library {
    use idempotent_runtime::idempotent;

    #[idempotent(expires = "24h")]
    async fn create() {}

    #[idempotent(timeout = "30s")]
    async fn refund() {}

    #[idempotent(lock = "30s")]
    async fn cancel() {}

    #[idempotent(retry = "5s")]
    async fn capture() {}

    #[idempotent(optional = true)]
    async fn settle() {}

    #[idempotent(user = user.id)]
    async fn dispute() {}

    #[idempotent(header = "X-Key")]
    async fn renew() {}

    #[idempotent(namespace = "payments")]
    async fn close() {}
}

mod word_without_quotes {
    use idempotent_runtime::idempotent;

    #[idempotent(replay = success)]
    async fn create() {}

    #[idempotent(takeover = Takeover::Refuse)]
    async fn refund() {}

    #[idempotent(key = 7)]
    async fn cancel() {}

    #[idempotent(replay = never)]
    async fn capture() {}
}

mod operation {
    use idempotent_runtime::idempotent;

    #[idempotent(operation = "/refunds")]
    async fn path() {}

    #[idempotent(operation = refunds)]
    async fn unquoted() {}

    #[idempotent(name = "refunds.create")]
    async fn name() {}
}

mod key_format {
    use idempotent_runtime::idempotent;

    #[idempotent(key = "ksuid")]
    async fn other() {}
}

fn main() {}
