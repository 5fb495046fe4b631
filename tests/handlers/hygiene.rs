//! Names in the user's code that equal names in ours, and the places where a handler may be written.
#![deny(warnings, clippy::pedantic, clippy::nursery)]
#![forbid(unsafe_code)]
// This lint contradicts `unreachable_pub`.
#![allow(clippy::redundant_pub_crate)]

use axum::{Router, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, MemoryStore};
use support::in_process::send;

/// A module that defines every name that an expansion could use.
mod shadowed {
    use ::axum::extract::{Path, State};
    use ::idempotent_runtime::{Idempotency, idempotent};

    // An expansion that uses one of these without a full path gets the wrong item.
    mod core {}
    mod std {}
    mod alloc {}
    mod axum {}
    mod idempotent_runtime {}
    mod tokio {}
    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) struct String;
    pub(super) struct Box;
    pub(super) struct Vec;
    pub(super) struct Some;
    pub(super) struct Ok;
    pub(super) struct Err;
    pub(super) struct None;
    pub(super) struct Duration;
    pub(super) struct Policy;
    pub(super) struct Captured;
    pub(super) struct Response;
    pub(super) struct Scope;
    pub(super) trait Future {}
    pub(super) trait Send {}
    pub(super) trait Clone {}
    pub(super) trait Into {}
    pub(super) trait Display {}

    const POLICY: ::core::time::Duration = ::core::time::Duration::from_secs(60);

    /// Has the name of a helper that an expansion might call without a path.
    const fn scope(_: u64) -> &'static str {
        "the user's own `scope`"
    }

    const fn handler() -> &'static str {
        "the user's own `handler`"
    }

    #[idempotent(ttl = POLICY, scope = request)]
    pub(super) async fn names_of_ours(State(handler): State<Idempotency>, Path(request): Path<u64>) -> &'static str {
        drop(handler);
        scope(request)
    }

    #[idempotent(scope = policy)]
    pub(super) async fn request(Path(policy): Path<u64>, request: ::axum::extract::Request) -> &'static str {
        assert_eq!((policy, POLICY.as_secs()), (7, 60));
        drop(request);
        handler()
    }

    #[idempotent(scope = scope)]
    pub(super) async fn protect(Path(scope): Path<u64>, protect: ::axum::http::Method) -> ::std::string::String {
        ::std::format!("{protect} {scope}")
    }

    // These items exist only to shadow names, so the lints about them are off.
    #[allow(dead_code, clippy::type_complexity)]
    const fn taken() -> (Result, Option, String, Box, Vec, Some, Ok, Err) {
        let _ = (None, Duration, Policy, Captured, Response, Scope);
        (Result, Option, String, Box, Vec, Some, Ok, Err)
    }

    #[allow(dead_code)]
    trait Taken: Future + Send + Clone + Into + Display {}
}

#[no_implicit_prelude]
mod without_prelude {
    use ::axum::extract::Path;
    use ::idempotent_runtime::idempotent;

    #[idempotent(ttl = "1h", wait = "1s", scope = id)]
    pub(super) async fn no_prelude(Path(id): Path<u64>) -> ::std::string::String {
        ::std::format!("number {id}")
    }
}

mod raw_identifiers {
    use axum::extract::{Path, State};
    use idempotent_runtime::{Idempotency, idempotent};

    #[idempotent(scope = r#type)]
    pub(super) async fn r#match(State(r#struct): State<Idempotency>, Path(r#type): Path<u64>) -> String {
        drop(r#struct);
        format!("type {type}", r#type = r#type)
    }
}

mod generated {
    use axum::extract::{Path, State};
    use idempotent_runtime::{Idempotency, idempotent};

    macro_rules! handlers {
        ($(
            $(#[$attribute:meta])*
            $vis:vis fn $name:ident($pattern:pat => $ty:ty) for $ttl:literal scoped to $scope:expr, $body:block
        )*) => {
            $(
                $(#[$attribute])*
                #[idempotent(ttl = $ttl, scope = $scope)]
                $vis async fn $name(State(request): State<Idempotency>, $pattern: $ty) -> String {
                    drop(request);
                    $body
                }

                #[idempotent]
                $vis async fn only_a_block() -> String $body
            )*
        };
    }

    pub(super) mod first {
        use super::{Idempotency, Path, State, idempotent};

        handlers! {
            /// With documentation.
            pub(in super::super) fn handler(Path(id) => Path<u64>) for "1h" scoped to id, { "first".to_owned() }
        }
    }

    pub(super) mod second {
        use super::{Idempotency, Path, State, idempotent};

        handlers! {
            pub(in super::super) fn handler(Path(request) => Path<u64>) for "2h" scoped to format!("{request}"), { "second".to_owned() }
        }
    }
}

/// Two variables with the same name: the macro's own, and the caller's.
mod alike {
    use axum::extract::{Path, State};
    use idempotent_runtime::{Idempotency, idempotent};

    macro_rules! handler {
        ($id:ident) => {
            #[idempotent]
            pub(super) async fn handler(State(app): State<Idempotency>, Path($id): Path<u64>, _: String) -> String {
                drop(app);
                $id.to_string()
            }
        };
    }
    handler!(app);
}

mod everywhere {
    use axum::{
        extract::Path,
        http::Method,
        routing::{MethodRouter, post},
    };
    use idempotent_runtime::{Claim, Idempotency, idempotent};

    pub(super) fn in_a_function() -> MethodRouter<Idempotency> {
        #[idempotent]
        async fn local(Path(id): Path<u64>) -> String {
            format!("local {id}")
        }
        post(local)
    }

    pub(super) struct Payments;

    impl Payments {
        #[idempotent]
        pub(super) async fn associated(Path(id): Path<u64>) -> String {
            format!("associated {id}")
        }
    }

    /// Has as many arguments as axum allows.
    #[idempotent(scope = id)]
    #[expect(clippy::too_many_arguments)]
    pub(super) async fn sixteen(
        Path(id): Path<u64>,
        claim: Claim,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        _: Method,
        body: String,
    ) -> String {
        format!("{} {body}", claim.protected())
    }

    /// Calls itself. The inner call is the plain function, which is not protected a second time.
    #[idempotent]
    pub(super) async fn recursive(Path(id): Path<u64>) -> String {
        if id == 0 { "recursive".to_owned() } else { Box::pin(recursive(Path(0))).await }
    }

    /// Has items of its own: one has a name that we use, and one uses `Self`.
    #[idempotent]
    pub(super) async fn with_items(Path(id): Path<u64>) -> String {
        use std::string::ToString as _;

        struct Policy(u64);

        impl Policy {
            const fn of(id: u64) -> Self {
                Self(id)
            }
        }

        static POLICY: Policy = Policy::of(1);
        (POLICY.0 + id).to_string()
    }
}

mod generic {
    use std::fmt::Display;

    use axum::{
        Json,
        body::Bytes,
        extract::{FromRequestParts, State},
        response::IntoResponse,
    };
    use idempotent_runtime::{Idempotency, idempotent};
    use serde::{Serialize, de::DeserializeOwned};

    #[idempotent]
    pub(super) async fn inline_bounds<T: Serialize + DeserializeOwned + Send, const LIMIT: usize>(
        Json(mut values): Json<Vec<T>>,
    ) -> Json<Vec<T>> {
        values.truncate(LIMIT);
        Json(values)
    }

    #[idempotent(scope = id)]
    pub(super) async fn where_bounds<I, S>(id: I, State(_state): State<S>, body: Bytes) -> impl IntoResponse
    where
        I: FromRequestParts<S> + Send + Display,
        S: Clone + Send + Sync,
        Idempotency: axum::extract::FromRef<S>,
    {
        format!("{} bytes", body.len())
    }

    pub(super) struct Tenant;

    impl Display for Tenant {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("tenant")
        }
    }

    impl<S: Sync> FromRequestParts<S> for Tenant {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(_: &mut axum::http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
            Ok(Self)
        }
    }
}

mod through_another_crate {
    use framework::idempotency::idempotent;

    #[idempotent(crate = framework::idempotency, ttl = "1h", scope = id)]
    pub(super) async fn reexported(axum::extract::Path(id): axum::extract::Path<u64>) -> String {
        format!("reexported {id}")
    }
}

fn app() -> Router {
    Router::new()
        .route("/names_of_ours/{id}", post(shadowed::names_of_ours))
        .route("/request/{id}", post(shadowed::request))
        .route("/protect/{id}", post(shadowed::protect))
        .route("/no_prelude/{id}", post(without_prelude::no_prelude))
        .route("/match/{id}", post(raw_identifiers::r#match))
        .route("/first/{id}", post(generated::first::handler))
        .route("/second/{id}", post(generated::second::handler))
        .route("/alike/{id}", post(alike::handler))
        .route("/only_a_block/1", post(generated::first::only_a_block))
        .route("/only_a_block/2", post(generated::second::only_a_block))
        .route("/local/{id}", everywhere::in_a_function())
        .route("/associated/{id}", post(everywhere::Payments::associated))
        .route("/sixteen/{id}", post(everywhere::sixteen))
        .route("/recursive/{id}", post(everywhere::recursive))
        .route("/with_items/{id}", post(everywhere::with_items))
        .route("/inline_bounds", post(generic::inline_bounds::<u8, 2>))
        .route("/where_bounds", post(generic::where_bounds::<generic::Tenant, Idempotency>))
        .route("/reexported/{id}", post(through_another_crate::reexported))
        .merge(framework::routes())
        .with_state(Idempotency::new(MemoryStore::new()))
}

#[tokio::test]
async fn handlers_keep_their_meaning_whatever_is_named_around_them() {
    let app = app();
    for (path, expected) in [
        ("/names_of_ours/7", "the user's own `scope`"),
        ("/request/7", "the user's own `handler`"),
        ("/protect/7", "POST 7"),
        ("/no_prelude/7", "number 7"),
        ("/match/7", "type 7"),
        ("/first/7", "first"),
        ("/second/7", "second"),
        ("/alike/7", "7"),
        ("/only_a_block/1", "first"),
        ("/only_a_block/2", "second"),
        ("/local/7", "local 7"),
        ("/associated/7", "associated 7"),
        ("/sixteen/7", "true [1,2,3]"),
        ("/recursive/7", "recursive"),
        ("/with_items/7", "8"),
        ("/inline_bounds", "[1,2]"),
        ("/where_bounds", "7 bytes"),
        ("/reexported/7", "reexported 7"),
        ("/refunds/7", "7"),
        ("/cancellations/7/late", "7: late!"),
        ("/ticks", ""),
    ] {
        let key = "0197b4c3-6a5e-7000-8000-0123456789ab";
        let first = send(&app, path, key, "[1,2,3]").await;
        assert_eq!((first.status, first.body.as_str()), (StatusCode::OK, expected), "{path}");
        let retry = send(&app, path, key, "[1,2,3]").await;
        assert_eq!((retry.replayed, retry.body), (true, first.body), "{path}");
    }
}
