//! Describes a protected handler for `utoipa`.

use std::{collections::BTreeMap, marker::PhantomData};

use serde_json::{Value, json};
use utoipa::{
    __dev::{SchemaReferences, Tags},
    IntoParams, IntoResponses, Path,
    openapi::{
        HttpMethod, Ref, RefOr,
        extensions::Extensions,
        path::{Operation, Parameter, ParameterIn},
        response::Response,
        schema::Schema,
    },
};

use super::facts;
use crate::{config::policy::Policy, problem::ProblemKind};

/// The policy of the handler that this type describes.
pub trait DescribedPolicy {
    /// The attribute's options.
    const POLICY: Policy;
}

/// The description `B` that `utoipa::path` has made, with what the attribute adds.
pub struct Described<B>(PhantomData<B>);

impl<B: Path + DescribedPolicy> Path for Described<B> {
    fn path() -> String {
        B::path()
    }

    fn methods() -> Vec<HttpMethod> {
        B::methods()
    }

    fn operation() -> Operation {
        let mut operation = B::operation();
        let is_safe = |method: &HttpMethod| {
            matches!(method, HttpMethod::Get | HttpMethod::Head | HttpMethod::Options | HttpMethod::Trace)
        };
        // A request with a safe method is not protected.
        if !B::methods().iter().all(is_safe) {
            describe(&mut operation, &B::POLICY);
        }
        operation
    }
}

impl<'t, B: Tags<'t>> Tags<'t> for Described<B> {
    fn tags() -> Vec<&'t str> {
        B::tags()
    }
}

impl<B: SchemaReferences> SchemaReferences for Described<B> {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        B::schemas(schemas);
        schemas.extend(facts::read(facts::problem_schema()).map(|schema| (facts::PROBLEM_SCHEMA.to_owned(), schema)));
    }
}

/// Adds what the handler's attribute says to an operation.
fn describe(operation: &mut Operation, policy: &Policy) {
    if let Some(parameter) = facts::key_parameter(policy).and_then(facts::read::<Parameter>) {
        let parameters = operation.parameters.get_or_insert_default();
        if !parameters.iter().any(|there| is_header(there, &parameter.name)) {
            parameters.push(parameter.into());
        }
    }
    for (code, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && facts::may_be_replayed(code, policy)
            && let Some(marker) = facts::read(facts::marker())
        {
            response.headers.entry(facts::MARKER.to_owned()).or_insert(marker);
        }
    }
    let schema = json!(Ref::from_schema_name(facts::PROBLEM_SCHEMA));
    for (status, kinds) in facts::problems(policy) {
        let Some(problem) = problem_response(status, &kinds, &schema) else { continue };
        match operation.responses.responses.get_mut(&status.to_string()) {
            // The handler itself may answer with this status too.
            Some(RefOr::T(response)) => {
                for (name, header) in problem.headers {
                    response.headers.entry(name).or_insert(header);
                }
                for (media_type, content) in problem.content {
                    response.content.entry(media_type).or_insert(content);
                }
            }
            // The referenced response may be used elsewhere, so it is not changed.
            Some(RefOr::Ref(_)) => {}
            None => {
                operation.responses.responses.insert(status.to_string(), problem.into());
            }
        }
    }
    let extensions = operation.extensions.get_or_insert_default();
    extensions.merge(Extensions::from_iter([(facts::TTL, facts::iso_8601(facts::ttl(policy)))]));
    let set_by_service = facts::set_by_service(policy);
    if !set_by_service.is_empty() {
        extensions.merge(Extensions::from_iter([(facts::SET_BY_SERVICE, set_by_service)]));
    }
}

fn is_header(parameter: &RefOr<Parameter>, name: &str) -> bool {
    // The names of headers are compared without case.
    matches!(parameter, RefOr::T(it) if it.parameter_in == ParameterIn::Header && it.name.eq_ignore_ascii_case(name))
}

fn problem_response(status: u16, kinds: &[ProblemKind], schema: &Value) -> Option<Response> {
    facts::read(facts::problem_response(status, kinds, schema))
}

/// The parameter `Idempotency-Key`, for a `utoipa::path` above the attribute. Use `KeyHeader<false>` for a handler with
/// `required = false`.
///
/// If the service has set another header on its builder, describe that header yourself.
#[derive(Clone, Copy, Debug)]
pub struct KeyHeader<const REQUIRED: bool = true>;

impl<const REQUIRED: bool> IntoParams for KeyHeader<REQUIRED> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        facts::key_parameter(&Policy::new("").required(REQUIRED)).and_then(facts::read).into_iter().collect()
    }
}

/// The problems that a protected handler may answer with, for a `utoipa::path` above the attribute: 400, 409, 413, 422,
/// 500 and 503, as `application/problem+json` (RFC 9457), with an example of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let problems = facts::problems(&Policy::new("")).into_iter();
        let response = |(status, kinds): (u16, Vec<_>)| {
            Some((status.to_string(), problem_response(status, &kinds, &facts::problem_schema())?.into()))
        };
        problems.filter_map(response).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_says_whether_it_is_required() {
        let of = |parameters: Vec<Parameter>| serde_json::to_value(parameters).unwrap();
        assert_eq!(of(KeyHeader::<true>::into_params(|| None))[0]["required"], true);
        assert_eq!(of(KeyHeader::<false>::into_params(|| None))[0]["required"], false);
    }

    #[test]
    fn each_problem_has_a_schema_and_an_example_with_its_own_status() {
        let responses = serde_json::to_value(Problems::responses()).unwrap();
        for status in [400_u16, 409, 413, 422, 500, 503] {
            let content = &responses[status.to_string()]["content"][facts::PROBLEM_JSON];
            let examples = content["examples"].as_object().unwrap();
            assert!(examples.values().all(|example| example["value"]["status"] == status), "{examples:?}");
            assert_eq!(content["schema"]["required"], serde_json::json!(["type", "title", "status", "detail"]));
        }
        assert_eq!(responses.as_object().unwrap().len(), 6);
    }
}
