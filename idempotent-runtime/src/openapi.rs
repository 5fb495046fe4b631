//! What a protected handler adds to an OpenAPI document, as types for `utoipa::path` (feature `utoipa`).
//!
//! ```
//! use axum::http::StatusCode;
//! use idempotent_runtime::{idempotent, openapi};
//!
//! /// Makes a payment.
//! #[utoipa::path(
//!     post,
//!     path = "/payments",
//!     params(openapi::KeyHeader),
//!     responses((status = 201, description = "Paid", headers(("Idempotent-Replayed" = bool))), openapi::Problems),
//! )]
//! #[idempotent(ttl = "24h")]
//! async fn create_payment() -> StatusCode {
//!     StatusCode::CREATED
//! }
//! ```

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{
        Content, RefOr, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        response::{Response, ResponseBuilder},
        schema::{ObjectBuilder, Schema, Type},
    },
};

use crate::{
    request::key::MAX_KEY,
    response::problem::{DEFAULT_BASE, ProblemKind},
};

/// The parameter `Idempotency-Key`. `KeyHeader<false>` is the one of a handler with `required = false`.
///
/// A service that has set another header on its builder describes that one itself.
#[derive(Clone, Copy, Debug)]
pub struct KeyHeader<const REQUIRED: bool = true>;

impl<const REQUIRED: bool> IntoParams for KeyHeader<REQUIRED> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX_KEY));
        let description = "New for each operation and the same for each retry of it, such as a random UUID.";
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(if REQUIRED { Required::True } else { Required::False })
            .description(Some(description))
            .schema(Some(key));
        vec![parameter.build()]
    }
}

/// The problems that a protected handler is answered for with: 400, 409, 422 and 503, as `application/problem+json` (RFC
/// 9457), each with an example.
#[derive(Clone, Copy, Debug)]
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let kinds =
            [ProblemKind::KeyMissing, ProblemKind::InFlight, ProblemKind::KeyReused, ProblemKind::StoreUnavailable];
        kinds.into_iter().map(|kind| (kind.status().as_str().to_owned(), response(kind).into())).collect()
    }
}

fn response(kind: ProblemKind) -> Response {
    let example = json!({
        "type": format!("{DEFAULT_BASE}{}", kind.slug()),
        "title": kind.title(),
        "status": kind.status().as_u16(),
    });
    let mut content = Content::new(Some(schema()));
    content.example = Some(example);
    let description = match kind.status() {
        StatusCode::BAD_REQUEST => "The idempotency key is missing, not valid or too old.",
        StatusCode::CONFLICT => {
            "The first request with this key is still running, or its outcome or response is not known."
        }
        StatusCode::UNPROCESSABLE_ENTITY => "The key was used for another request.",
        _ => "The service cannot tell whether the request was carried out. Send it again with the same key.",
    };
    ResponseBuilder::new().description(description).content("application/problem+json", content).build()
}

/// A problem of RFC 9457.
fn schema() -> Schema {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("type", text("A URI that names the kind of problem and leads to its documentation."))
        .property("title", text("The kind of problem in a few words, the same on every occasion."))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).description(Some("The status code.")))
        .property("detail", text("What to do about this occurrence."))
        .required("type")
        .required("title")
        .required("status")
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_says_whether_it_is_required_and_how_long_it_is() {
        let of = |parameters: Vec<Parameter>| serde_json::to_value(parameters).unwrap();
        let required = of(KeyHeader::<true>::into_params(|| None));
        assert_eq!(required[0]["name"], "Idempotency-Key");
        assert_eq!(required[0]["in"], "header");
        assert_eq!(required[0]["required"], true);
        assert_eq!(required[0]["schema"]["maxLength"], MAX_KEY);
        assert_eq!(of(KeyHeader::<false>::into_params(|| None))[0]["required"], false);
    }

    #[test]
    fn each_problem_has_a_schema_and_an_example_with_its_own_status() {
        let responses = serde_json::to_value(Problems::responses()).unwrap();
        for status in [400_u16, 409, 422, 503] {
            let content = &responses[status.to_string()]["content"]["application/problem+json"];
            assert_eq!(content["example"]["status"], status);
            assert_eq!(content["schema"]["required"], json!(["type", "title", "status"]));
        }
        assert_eq!(responses.as_object().unwrap().len(), 4);
    }
}
