//! Handlers in every form that axum accepts: each compiles with the attribute and behaves as it does without it.
//!
//! The lints below are those of the strictest user: every warning is an error.
#![deny(warnings, clippy::pedantic, clippy::nursery)]
#![forbid(unsafe_code)]
// The first contradicts `unreachable_pub`. The second reports the copies of a handler that `debug_handler` makes.
#![allow(clippy::redundant_pub_crate, clippy::unused_async)]

use axum::{Router, http::StatusCode, routing::post};
use idempotent_runtime::{Idempotency, MemoryStore};
use support::in_process::send;

/// Sends one request twice, and checks that the handler runs once and that the second answer is a replay.
async fn runs_once(router: Router<Idempotency>, body: &str, expected: &str) {
    let router = router.with_state(Idempotency::new(MemoryStore::new()));
    let first = send(&router, "/7", "k", body).await;
    assert_eq!((first.status, first.body.as_str(), first.replayed), (StatusCode::OK, expected, false));
    let retry = send(&router, "/7", "k", body).await;
    assert_eq!((retry.status, retry.body.as_str(), retry.replayed), (StatusCode::OK, expected, true));
}

/// A trait whose futures cannot be given bounds such as `Send`.
mod repository {
    pub(super) trait Repository: Clone + Send + Sync + 'static {
        const NAME: &'static str;
        type Error: Into<axum::http::StatusCode>;
        async fn save(&self, amount: u64) -> Result<u64, Self::Error>;
    }

    #[derive(Clone)]
    pub(super) struct InMemory;

    impl Repository for InMemory {
        const NAME: &'static str = "memory";
        type Error = axum::http::StatusCode;

        async fn save(&self, amount: u64) -> Result<u64, Self::Error> {
            tokio::task::yield_now().await;
            if amount == 0 { Err(axum::http::StatusCode::BAD_REQUEST) } else { Ok(amount + 1) }
        }
    }
}

mod generic {
    use axum::{Extension, Json, extract::Path, http::StatusCode};
    use idempotent_runtime::idempotent;
    use serde::{Serialize, de::DeserializeOwned};

    use super::repository::Repository;

    #[idempotent(ttl = "24h")]
    pub(super) async fn create<R: Repository>(
        Extension(repository): Extension<R>,
        Json(amount): Json<u64>,
    ) -> Result<String, StatusCode> {
        let saved = repository.save(amount).await.map_err(Into::into)?;
        Ok(format!("{} {saved}", R::NAME))
    }

    #[idempotent(scope = id, key = amount, fingerprint = amount)]
    pub(super) async fn by_value<R: Repository>(
        Path(id): Path<u64>,
        Extension(repository): Extension<R>,
        Json(amount): Json<u64>,
    ) -> Result<String, StatusCode> {
        let saved = repository.save(amount).await.map_err(Into::into)?;
        Ok(format!("{id} {saved}"))
    }

    #[idempotent]
    pub(super) async fn echo<T: Serialize + DeserializeOwned>(Json(value): Json<T>) -> Json<T> {
        Json(value)
    }
}

#[tokio::test]
async fn a_handler_may_be_generic_over_a_trait_with_asynchronous_functions() {
    let router = Router::new().route("/{id}", post(generic::create::<repository::InMemory>));
    runs_once(router.layer(axum::Extension(repository::InMemory)), "7", "memory 8").await;
    let router = Router::new().route("/{id}", post(generic::by_value::<repository::InMemory>));
    runs_once(router.layer(axum::Extension(repository::InMemory)), "7", "7 8").await;
}

#[tokio::test]
async fn a_generic_parameter_needs_no_bound_of_ours() {
    runs_once(Router::new().route("/{id}", post(generic::echo::<Vec<u8>>)), "[1,2]", "[1,2]").await;
}

mod associated {
    use std::{marker::PhantomData, time::Duration};

    use axum::{Extension, Json, extract::Path, http::StatusCode, response::IntoResponse};
    use idempotent_runtime::{Claim, idempotent};
    use tracing::instrument;

    use super::repository::Repository;

    pub(super) struct Api<R>(PhantomData<R>);

    impl<R: Repository> Api<R> {
        const KEPT: Duration = Duration::from_secs(60);

        const fn check(amount: u64) -> Result<u64, StatusCode> {
            if amount > 100 { Err(StatusCode::BAD_REQUEST) } else { Ok(amount) }
        }

        fn scope(id: u64) -> String {
            format!("{}-{id}", R::NAME)
        }

        #[idempotent(ttl = Self::KEPT, scope = Self::scope(*id))]
        pub(super) async fn create(
            Path(id): Path<u64>,
            Extension(repository): Extension<R>,
            Json(amount): Json<u64>,
        ) -> Result<String, StatusCode> {
            let amount = Self::check(amount)?;
            let saved = repository.save(amount).await.map_err(Into::into)?;
            Ok(format!("{} {id} {saved}", R::NAME))
        }

        #[idempotent]
        pub(super) async fn responds(_: Claim, Extension(repository): Extension<R>) -> impl IntoResponse {
            repository.save(1).await.map(|saved| saved.to_string()).map_err(Into::into)
        }

        #[idempotent]
        #[instrument(skip_all)]
        pub(super) async fn traced(Extension(repository): Extension<R>, body: String) -> Result<String, StatusCode> {
            let saved = repository.save(Self::check(7)?).await.map_err(Into::into)?;
            Ok(format!("{body} {saved}"))
        }
    }

    pub(super) struct Shop<Repo>(PhantomData<Repo>);

    impl<Repo: Repository> Shop<Repo> {
        /// Nothing but the name of a type says that this handler is generic.
        #[idempotent]
        pub(super) async fn sell(Extension(repository): Extension<Repo>, body: String) -> Result<String, StatusCode> {
            let saved = repository.save(7).await.map_err(Into::into)?;
            Ok(format!("{body} {saved}"))
        }
    }

    pub(super) struct Payments;

    impl Payments {
        const GREETING: &str = "hello";

        #[idempotent]
        pub(super) async fn greet(Path(id): Path<u64>) -> String {
            format!("{} {id}", Self::GREETING)
        }

        /// Calls a free function that has the same name.
        #[idempotent]
        pub(super) async fn cancel(Path(id): Path<u64>) -> String {
            cancel(id).await
        }
    }

    async fn cancel(id: u64) -> String {
        tokio::task::yield_now().await;
        format!("cancelled {id}")
    }
}

#[tokio::test]
async fn self_and_the_generics_of_an_impl_have_their_meaning() {
    type Api = associated::Api<repository::InMemory>;
    let with = |handler| Router::new().route("/{id}", handler).layer(axum::Extension(repository::InMemory));
    runs_once(with(post(Api::create)), "7", "memory 7 8").await;
    runs_once(with(post(Api::responds)), "", "2").await;
    runs_once(with(post(Api::traced)), "body", "body 8").await;
    runs_once(with(post(associated::Shop::<repository::InMemory>::sell)), "body", "body 8").await;
    runs_once(Router::new().route("/{id}", post(associated::Payments::greet)), "", "hello 7").await;
}

#[tokio::test]
async fn a_handler_may_call_a_free_function_of_its_own_name() {
    runs_once(Router::new().route("/{id}", post(associated::Payments::cancel)), "", "cancelled 7").await;
}

/// Unit structs, one for every column, as in diesel's `dsl::*`.
mod columns {
    #![allow(non_camel_case_types, non_upper_case_globals, dead_code)]

    use axum::extract::Path;
    use idempotent_runtime::idempotent;

    pub(super) struct scope;
    pub(super) struct request;
    pub(super) struct handler;
    pub(super) struct policy;
    pub(super) struct last;
    pub(super) struct key;
    pub(super) static fingerprint: u64 = 1;
    pub(super) static store: u64 = 2;

    #[idempotent(scope = id, key = format!("{id}"), fingerprint = id)]
    pub(super) async fn create(Path(id): Path<u64>, body: String) -> String {
        format!("{id} {body} {}", fingerprint + store)
    }
}

#[tokio::test]
async fn unit_structs_and_statics_of_any_name_are_not_in_the_way() {
    runs_once(Router::new().route("/{id}", post(columns::create)), "body", "7 body 3").await;
}

mod expressions {
    use axum::{Extension, extract::Path};
    use idempotent_runtime::idempotent;

    #[derive(Clone, Copy)]
    pub(super) struct Limits {
        pub(super) tier: u64,
    }

    #[idempotent(scope = format!("{type}"))]
    pub(super) async fn raw(Path(r#type): Path<u64>) -> String {
        r#type.to_string()
    }

    #[idempotent(scope = format!("{id:>width$}"))]
    pub(super) async fn width(Path(id): Path<u64>, Extension(width): Extension<usize>) -> String {
        format!("{id:>width$}")
    }

    #[idempotent(scope = limits.tier)]
    pub(super) async fn reference(Extension(&limits): Extension<&'static Limits>) -> String {
        limits.tier.to_string()
    }

    #[idempotent(scope = limits.tier)]
    pub(super) async fn static_reference(limits: Config, Path(id): Path<u64>) -> String {
        format!("{} {id}", limits.tier)
    }

    type Config = Extension<&'static Limits>;
}

#[tokio::test]
async fn an_expression_may_name_arguments_in_every_way() {
    static LIMITS: expressions::Limits = expressions::Limits { tier: 3 };
    runs_once(Router::new().route("/{id}", post(expressions::raw)), "", "7").await;
    let router = Router::new().route("/{id}", post(expressions::width)).layer(axum::Extension(3_usize));
    runs_once(router, "", "  7").await;
    let router = Router::new().route("/{id}", post(expressions::reference)).layer(axum::Extension(&LIMITS));
    runs_once(router, "", "3").await;
    let router = Router::new().route("/{id}", post(expressions::static_reference)).layer(axum::Extension(&LIMITS));
    runs_once(router, "", "3 7").await;
}

/// Types that are not axum's but have names that axum uses.
mod namesakes {
    use std::convert::Infallible;

    use axum::{
        body::Body,
        extract::FromRequestParts,
        http::request::Parts,
        response::{IntoResponse, Response},
    };
    use futures_util::stream;
    use idempotent_runtime::idempotent;

    pub(super) struct Form(String);
    pub(super) struct Request;
    /// A response whose body ends. `axum-extra` has a stream with the same name.
    pub(super) struct JsonLines(Vec<&'static str>);

    impl<S: Sync> FromRequestParts<S> for Form {
        type Rejection = Infallible;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
            Ok(Self(parts.method.to_string()))
        }
    }

    impl<S: Sync> FromRequestParts<S> for Request {
        type Rejection = Infallible;

        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
            Ok(Self)
        }
    }

    impl<S: Sync> FromRequestParts<S> for &'static Config {
        type Rejection = Infallible;

        async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
            Ok(&CONFIG)
        }
    }

    pub(super) struct Config(&'static str);
    static CONFIG: Config = Config("config");

    impl IntoResponse for JsonLines {
        fn into_response(self) -> Response {
            let lines = self.0.into_iter().map(|line| Ok::<_, Infallible>(format!("{line}\n")));
            Body::from_stream(stream::iter(lines)).into_response()
        }
    }

    #[idempotent]
    pub(super) async fn finite(_: Request, Form(form): Form, config: &'static Config, body: String) -> JsonLines {
        drop((form, body));
        JsonLines(vec!["1", config.0])
    }
}

#[tokio::test]
async fn a_type_is_not_judged_by_its_name_and_a_finite_stream_is_replayed() {
    runs_once(Router::new().route("/{id}", post(namesakes::finite)), "", "1\nconfig\n").await;
}

mod conditional {
    use axum::{debug_handler, extract::Path};
    use idempotent_runtime::idempotent;

    #[idempotent]
    #[cfg_attr(test, debug_handler)]
    #[cfg_attr(not(test), debug_handler(state = Nowhere))]
    pub(super) async fn create(Path(id): Path<u64>) -> String {
        id.to_string()
    }

    // The function is compiled out, so its wrong option must not be reported.
    #[cfg(not(test))]
    #[idempotent(ttl = 60)]
    pub(super) async fn above() {}

    #[idempotent(ttl = 60, colour = "red")]
    #[cfg(not(test))]
    pub(super) fn below() {}
}

#[tokio::test]
async fn conditional_attributes_count_where_they_hold() {
    runs_once(Router::new().route("/{id}", post(conditional::create)), "", "7").await;
}

/// What a closure's return type cannot contain.
mod opaque {
    #![forbid(unused_imports)]

    use axum::{
        extract::Path,
        response::{IntoResponse, Response},
    };
    use idempotent_runtime::idempotent;

    pub(super) struct Named<T>(pub(super) T);

    impl<T: ToString> IntoResponse for Named<&'static T> {
        fn into_response(self) -> Response {
            self.0.to_string().into_response()
        }
    }

    #[idempotent(ttl = "24h")]
    pub(super) async fn in_a_reference(Path(id): Path<u64>) -> Named<&'static impl ToString> {
        Named(if id == 7 { &7 } else { &0 })
    }

    pub(super) struct Lines<I>(pub(super) I);

    impl<I: Iterator<Item: ToString>> IntoResponse for Lines<I> {
        fn into_response(self) -> Response {
            self.0.map(|line| line.to_string()).collect::<String>().into_response()
        }
    }

    #[idempotent(ttl = "24h")]
    pub(super) async fn in_an_associated_type(
        Path(id): Path<u64>,
    ) -> Lines<Box<dyn Iterator<Item = impl ToString> + Send>> {
        Lines(Box::new(std::iter::once(id)))
    }
}

#[tokio::test]
async fn an_opaque_type_may_be_anywhere_in_the_return_type() {
    runs_once(Router::new().route("/{id}", post(opaque::in_a_reference)), "", "7").await;
    runs_once(Router::new().route("/{id}", post(opaque::in_an_associated_type)), "", "7").await;
}

/// Lints that a user may have turned on report the user's own code only.
pub mod lints {
    #![deny(
        unused_qualifications,
        clippy::implicit_return,
        clippy::missing_errors_doc,
        clippy::must_use_candidate,
        clippy::pattern_type_mismatch,
        clippy::shadow_same
    )]
    // This lint contradicts `implicit_return`.
    #![allow(clippy::needless_return)]

    use axum::{Extension, extract::Path, http::StatusCode};
    use framework::idempotency;
    use framework::idempotency::idempotent;

    #[idempotent(crate = framework::idempotency, scope = id)]
    pub(super) async fn qualified(Path(id): Path<u64>) -> String {
        drop(idempotency::MemoryStore::new());
        return id.to_string();
    }

    #[idempotent(crate = framework::idempotency, header = "webhook-id", required = false)]
    pub(super) async fn explicit(Path(id): Path<u64>, body: String) -> String {
        return format!("{id}{body}");
    }

    #[idempotent(crate = framework::idempotency, scope = name.len())]
    pub(super) async fn reference(Extension(&name): Extension<&'static &'static str>) -> String {
        return name.to_owned();
    }

    /// This function is public, so that clippy asks for documentation of its errors.
    #[idempotent(crate = framework::idempotency)]
    #[expect(clippy::missing_errors_doc, reason = "there are none")]
    pub async fn fallible(Path(id): Path<u64>) -> Result<String, StatusCode> {
        return Ok(id.to_string());
    }
}

#[tokio::test]
async fn a_users_lints_are_silent_about_our_code() {
    runs_once(Router::new().route("/{id}", post(lints::qualified)), "", "7").await;
    runs_once(Router::new().route("/{id}", post(lints::fallible)), "", "7").await;
    drop(post::<_, _, Idempotency>(lints::explicit));
    drop(post::<_, _, Idempotency>(lints::reference));
}
