//! Compares whole expansions with their expected text. The diff of a change then shows what it does to users' code.
//!
//! `UPDATE_EXPECT=1 cargo test -p idempotent-macros` updates the expected text.

// `expect-test` writes the hashes.
#![allow(clippy::needless_raw_string_hashes)]

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
use quote::quote;

/// Compares the expansion. So that it is short, `::idempotent_runtime::__private::` is removed from its paths.
#[track_caller]
fn check(options: &TokenStream, item: &TokenStream, expected: &Expect) {
    let expansion = crate::expand(options, item).to_string();
    compare(&expansion.replace(":: idempotent_runtime :: __private :: ", ""), expected);
}

/// Compares the expansion with its full paths.
#[track_caller]
fn check_with_paths(options: &TokenStream, item: &TokenStream, expected: &Expect) {
    compare(&crate::expand(options, item).to_string(), expected);
}

/// Formats the expansion as `cargo expand` does, and compares it.
#[track_caller]
fn compare(expansion: &str, expected: &Expect) {
    let file = syn::parse_file(expansion).unwrap_or_else(|error| panic!("this is not a list of items: {error}"));
    expected.assert_eq(&prettyplease::unparse(&file));
}

#[test]
fn state_and_json() {
    check_with_paths(
        &quote! { ttl = "24h" },
        &quote! {
            /// Makes a payment.
            pub async fn create_payment(
                State(app): State<App>,
                Json(new): Json<NewPayment>,
            ) -> Result<impl IntoResponse, AppError> {
                let payment = app.pay(new).await?;
                Ok((StatusCode::CREATED, Json(payment)))
            }
        },
        &expect![[r#"
            /// Makes a payment.
            pub fn create_payment(
                app: State<App>,
                __request: ::idempotent_runtime::__private::Captured<Json<NewPayment>>,
            ) -> ::idempotent_runtime::__private::Protected<
                impl ::idempotent_runtime::__private::Future<
                    Output = ::idempotent_runtime::__private::Response,
                > + ::idempotent_runtime::__private::Send,
            > {
                use IntoResponse as _;
                static __POLICY: ::idempotent_runtime::__private::Policy = ::idempotent_runtime::__private::Policy::new(
                        ::core::concat!(::core::module_path!(), "::create_payment"),
                    )
                    .ttl(::idempotent_runtime::__private::Duration::from_secs(86_400))
                    .checked();
                let __handler = async |
                    State(app): State<App>,
                    Json(new): Json<NewPayment>,
                | -> Result<_, AppError> {
                    let payment = app.pay(new).await?;
                    Ok((StatusCode::CREATED, Json(payment)))
                };
                return __request.protect(&__POLICY, move |new| __handler(app, new));
            }
        "#]],
    );
}

#[test]
fn no_arguments_and_no_options() {
    check(
        &quote! {},
        &quote! {
            async fn tick() -> StatusCode {
                StatusCode::NO_CONTENT
            }
        },
        &expect![[r#"
            fn tick(__request: Captured<()>) -> Protected<impl Future<Output = Response>> {
                static __POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::tick"),
                    )
                    .checked();
                let __handler = async || -> StatusCode { StatusCode::NO_CONTENT };
                return __request.protect(&__POLICY, move |()| __handler());
            }
        "#]],
    );
}

#[test]
fn a_single_argument() {
    check(
        &quote! { ttl = "90m", wait = "5s" },
        &quote! {
            pub(crate) async fn refund(Path(id): Path<u64>) -> impl IntoResponse {
                format!("refunded {id}")
            }
        },
        &expect![[r#"
            pub(crate) fn refund(
                __request: Captured<Path<u64>>,
            ) -> Protected<impl Future<Output = Response>> {
                use IntoResponse as _;
                static __POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::refund"),
                    )
                    .ttl(Duration::from_secs(5_400))
                    .wait(Duration::from_secs(5))
                    .checked();
                return __request
                    .protect(
                        &__POLICY,
                        async |Path(id): Path<u64>| -> _ { format!("refunded {id}") },
                    );
            }
        "#]],
    );
}

#[test]
fn every_option() {
    check_with_paths(
        &quote! {
            ttl = RETENTION, lease = "1500ms", wait = "5s", required = false, scope = user.id,
            replay = "success", takeover = "refuse", key = "uuidv7", crate = framework::idempotency
        },
        &quote! {
            async fn order(Extension(user): Extension<User>, mut request: Request) -> Response {
                todo!()
            }
        },
        &expect![[r#"
            fn order(
                user: Extension<User>,
                __request: framework::idempotency::__private::Deferred<Request>,
            ) -> framework::idempotency::__private::ProtectedLater<
                Request,
                impl framework::idempotency::__private::Protect<
                    Request,
                    Handler = impl framework::idempotency::__private::Future<
                        Output = framework::idempotency::__private::Response,
                    >,
                >,
            > {
                static __POLICY: framework::idempotency::__private::Policy = framework::idempotency::__private::Policy::new(
                        ::core::concat!(::core::module_path!(), "::order"),
                    )
                    .ttl(RETENTION)
                    .lease(framework::idempotency::__private::Duration::from_millis(1_500))
                    .wait(framework::idempotency::__private::Duration::from_secs(5))
                    .required(false)
                    .replay(framework::idempotency::__private::ReplayPolicy::Success)
                    .takeover(framework::idempotency::__private::Takeover::Refuse)
                    .key(framework::idempotency::__private::KeyFormat::UuidV7)
                    .checked();
                return __request
                    .read(
                        &__POLICY,
                        move |__request| {
                            let __request = {
                                #[allow(clippy::pattern_type_mismatch)]
                                let Extension(user) = &user;
                                let __scope = framework::idempotency::__private::scope(&user.id);
                                __request.scoped(__scope)
                            };
                            let __handler = async |
                                #[allow(unused_variables)]
                                Extension(user): Extension<User>,
                                mut request: Request,
                            | -> Response { todo!() };
                            return __request
                                .protect(&__POLICY, move |request| __handler(user, request));
                        },
                    );
            }
        "#]],
    );
}

#[test]
fn a_scope_over_several_arguments() {
    check(
        &quote! { scope = format!("{tenant}/{}", new.account) },
        &quote! {
            async fn create(
                Path((mut tenant, region)): Path<(String, String)>,
                State(app): State<App>,
                Json(NewPayment { account: ref new, amount, .. }): Json<NewPayment>,
            ) {
            }
        },
        &expect![[r#"
            fn create(
                __arg0: Path<(String, String)>,
                app: State<App>,
                __request: Captured<Json<NewPayment>>,
            ) -> Protected<impl Future<Output = Response>> {
                {
                    use OfHead as _;
                    use OfBody as _;
                    use OfNoKind as _;
                    assert_reads_no_body(
                        &Argument::<Path<(String, String)>>::NEW,
                        (&&&Argument::<Path<(String, String)>>::NEW).kind(),
                    );
                }
                static __POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::create"),
                    )
                    .checked();
                #[allow(unused_variables)]
                let __request = {
                    #[allow(clippy::pattern_type_mismatch)]
                    let Path((tenant, region)) = &__arg0;
                    #[allow(clippy::pattern_type_mismatch)]
                    let Json(NewPayment { account: new, amount, .. }) = __request.last();
                    let __scope = scope(&format!("{tenant}/{}", new.account));
                    __request.scoped(__scope)
                };
                let __handler = async |
                    #[allow(unused_variables)]
                    Path((mut tenant, region)): Path<(String, String)>,
                    State(app): State<App>,
                    #[allow(unused_variables)]
                    Json(NewPayment { account: ref new, amount, .. }): Json<NewPayment>,
                | -> () {};
                return __request.protect(&__POLICY, move |__arg2| __handler(__arg0, app, __arg2));
            }
        "#]],
    );
}

#[test]
fn generics() {
    check(
        &quote! { ttl = "24h" },
        &quote! {
            pub async fn create<S, const LIMIT: usize>(
                State(service): State<S>,
                body: Bytes,
            ) -> Result<Json<S::Payment>, S::Error>
            where
                S: Service + Clone,
            {
                service.create(body).await.map(Json)
            }
        },
        &expect![[r#"
            pub fn create<S, const LIMIT: usize>(
                service: State<S>,
                __request: Captured<Bytes>,
            ) -> Protected<impl Future<Output = Response>>
            where
                S: Service + Clone,
            {
                static __POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::create"),
                    )
                    .ttl(Duration::from_secs(86_400))
                    .checked();
                let __handler = async |
                    State(service): State<S>,
                    body: Bytes,
                | -> Result<Json<S::Payment>, S::Error> { service.create(body).await.map(Json) };
                return __request.protect(&__POLICY, move |body| __handler(service, body));
            }
        "#]],
    );
}

#[test]
fn attributes_in_their_places() {
    check(
        &quote! { ttl = "24h" },
        &quote! {
            #[doc = "Makes a payment."]
            #[tracing::instrument(skip_all)]
            #[axum::debug_handler]
            #[cfg_attr(feature = "strict", deny(clippy::panic), cold)]
            #[must_use]
            #[expect(clippy::too_many_lines)]
            async fn create(State(app): State<App>, Json(new): Json<NewPayment>) -> StatusCode {
                StatusCode::CREATED
            }
        },
        &expect![[r##"
            #[tracing::instrument(skip_all)]
            #[::idempotent_runtime::idempotent(ttl = "24h")]
            ///Makes a payment.
            #[axum::debug_handler]
            #[cfg_attr(feature = "strict", deny(clippy::panic))]
            #[cfg_attr(feature = "strict", cold)]
            #[must_use]
            #[expect(clippy::too_many_lines)]
            async fn create(State(app): State<App>, Json(new): Json<NewPayment>) -> StatusCode {
                StatusCode::CREATED
            }
        "##]],
    );
}

#[test]
fn debug_handler_with_a_state_of_the_users_choice() {
    check(
        &quote! {},
        &quote! {
            #[cfg_attr(debug_assertions, axum::debug_handler(state = App))]
            async fn create(part: Part) {}
        },
        &expect![[r#"
            fn create(__request: Captured<Part>) -> Protected<impl Future<Output = Response>> {
                #[cfg_attr(debug_assertions, axum::debug_handler(state = App))]
                async fn create(part: Part) {}
                #[cfg(debug_assertions)]
                const _: () = assert_state_offers_idempotency::<App>();
                static __POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::create"),
                    )
                    .checked();
                return __request.protect(&__POLICY, create);
            }
        "#]],
    );
}

// `tracing::instrument` is moved above as well.
#[cfg(feature = "utoipa")]
#[test]
fn utoipa_goes_above_and_its_description_gains_the_policy() {
    check(
        &quote! { ttl = "48h", required = false },
        &quote! {
            #[utoipa::path(post, path = "/payments")]
            #[tracing::instrument]
            async fn create(Json(new): Json<NewPayment>) {}
        },
        &expect![[r##"
            #[utoipa::path(post, path = "/payments", impl_for = __bare_path_create)]
            #[tracing::instrument]
            #[::idempotent_runtime::idempotent(ttl = "48h", required = false)]
            async fn create(Json(new): Json<NewPayment>) {}
            #[doc(hidden)]
            #[allow(non_camel_case_types, missing_docs, unreachable_pub)]
            pub struct __bare_path_create;
            impl DescribedPolicy for __bare_path_create {
                const POLICY: Policy = Policy::new(
                        ::core::concat!(::core::module_path!(), "::create"),
                    )
                    .ttl(Duration::from_secs(172_800))
                    .required(false)
                    .checked();
            }
            #[doc(hidden)]
            #[allow(non_camel_case_types, missing_docs, unreachable_pub)]
            pub type __path_create = Described<__bare_path_create>;
        "##]],
    );
}

/// An option that is read and then forgotten would leave the expansion as it is.
#[test]
fn every_option_of_the_table_changes_the_expansion() {
    let item = quote! { async fn create(user: User, Json(order): Json<Order>) {} };
    let plain = crate::expand(&TokenStream::new(), &item).to_string();
    for (_, option, example) in crate::table::KNOWN {
        let expansion = crate::expand(&example.parse().unwrap(), &item).to_string();
        assert!(!expansion.contains("compile_error"), "{option}: {expansion}");
        assert_ne!(expansion, plain, "{option}");
    }
}

#[test]
fn a_state_that_debug_handler_infers_is_checked_once() {
    let checks = |arguments: TokenStream| {
        let item = quote! { #[debug_handler] async fn create(#arguments) {} };
        crate::expand(&TokenStream::new(), &item).to_string().matches("assert_state_offers_idempotency").count()
    };
    assert_eq!(checks(quote! { State(app): State<App>, again: extract::State<App>, body: String }), 1);
    assert_eq!(
        checks(quote! { State(a): State<App>, State(b): State<Other> }),
        0,
        "`debug_handler` itself reports this"
    );
    assert_eq!(checks(quote! { body: String }), 0, "any state may be the router's");
}

#[test]
fn errors_are_reported_together_and_the_function_stays() {
    check(
        &quote! { ttl = 60, lock = "5s", replay = succes, wait },
        &quote! {
            #[idempotent]
            pub fn create(Json(new): Json<NewPayment>, State(app): State<App>) -> StatusCode {
                StatusCode::CREATED
            }
        },
        &expect![[r#"
            ::core::compile_error! {
                "a duration is a string with a unit; write `ttl = \"60s\"`"
            }
            ::core::compile_error! {
                "there is no option `lock`; to set how long a claim stays valid without a heartbeat, write `lease = \"30s\"`; to limit how long the handler runs, use a timeout inside it"
            }
            ::core::compile_error! {
                "`replay` takes a word in quotes; write `replay = \"success\"`"
            }
            ::core::compile_error! {
                "`wait` needs a value; write `wait = \"5s\"`"
            }
            ::core::compile_error! {
                "a handler is asynchronous; write `async fn`"
            }
            ::core::compile_error! {
                "a handler takes one `#[idempotent]`; merge the options into one"
            }
            pub fn create(Json(new): Json<NewPayment>, State(app): State<App>) -> StatusCode {
                StatusCode::CREATED
            }
        "#]],
    );
}
