//! Describes a protected handler for `utoipa`.

use std::{collections::BTreeMap, marker::PhantomData};

use utoipa::{
    __dev::{SchemaReferences, Tags},
    IntoParams, IntoResponses, Path,
    openapi::{
        Content, Header, HttpMethod, Ref, RefOr, Required,
        example::ExampleBuilder,
        extensions::Extensions,
        header::HeaderBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        response::{Response, ResponseBuilder},
        schema::{ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

use super::facts::{self, KeyParameter};
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
        schemas.push((facts::PROBLEM_SCHEMA.to_owned(), problem_schema().into()));
    }
}

/// Adds what the handler's attribute says to an operation.
fn describe(operation: &mut Operation, policy: &Policy) {
    if let Some(parameter) = KeyParameter::from_policy(policy) {
        let parameters = operation.parameters.get_or_insert_default();
        if !parameters.iter().any(|there| is_header(there, &parameter.name)) {
            parameters.push(key_parameter(parameter).into());
        }
    }
    for (code, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && facts::may_be_replayed(code, policy)
        {
            response.headers.entry(facts::MARKER.to_owned()).or_insert_with(|| marker().into());
        }
    }
    let schema: RefOr<Schema> = Ref::from_schema_name(facts::PROBLEM_SCHEMA).into();
    for (status, kinds) in facts::problems(policy) {
        let problem = problem_response(status, &kinds, schema.clone());
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

fn key_parameter(key: KeyParameter) -> Parameter {
    let KeyParameter { name, required, description, format, max_length } = key;
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(format.map(|format| SchemaFormat::Custom(format.to_owned())))
        .min_length(Some(1))
        .max_length(Some(max_length));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if required { Required::True } else { Required::False })
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn marker() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Boolean);
    HeaderBuilder::new().schema(Some(schema)).description(Some(facts::MARKER_MEANS)).build()
}

fn problem_response(status: u16, kinds: &[ProblemKind], schema: RefOr<Schema>) -> Response {
    let mut content = Content::new(Some(schema));
    for kind in kinds {
        add_example(&mut content, *kind);
    }
    let mut response = ResponseBuilder::new().description(facts::description(status));
    for (name, means) in facts::headers(status) {
        let ty = if name == "Retry-After" { Type::Integer } else { Type::String };
        let schema = Some(ObjectBuilder::new().schema_type(ty));
        let header = HeaderBuilder::new().schema(schema).description(Some(means));
        response = response.header(name, header.build());
    }
    response.content(facts::PROBLEM_JSON, content).build()
}

pub(super) fn add_example(content: &mut Content, kind: ProblemKind) {
    let example = ExampleBuilder::new().summary(kind.title()).value(Some(facts::example(kind))).build();
    content.examples.insert(kind.slug().to_owned(), example.into());
}

fn problem_schema() -> Schema {
    let mut schema = ObjectBuilder::new().schema_type(Type::Object).description(Some("A problem of RFC 9457."));
    for member in facts::MEMBERS {
        let member_schema = ObjectBuilder::new()
            .schema_type(if member.is_number { Type::Integer } else { Type::String })
            .format(member.format.map(|format| SchemaFormat::Custom(format.to_owned())))
            .description(Some(member.means));
        schema = schema.property(member.name, member_schema).required(member.name);
    }
    schema.build().into()
}

/// The parameter `Idempotency-Key`, for a `utoipa::path` above the attribute. Use `KeyHeader<false>` for a handler with
/// `required = false`.
///
/// If the service has set another header on its builder, describe that header yourself.
#[derive(Clone, Copy, Debug)]
pub struct KeyHeader<const REQUIRED: bool = true>;

impl<const REQUIRED: bool> IntoParams for KeyHeader<REQUIRED> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        KeyParameter::from_policy(&Policy::new("").required(REQUIRED)).map(key_parameter).into_iter().collect()
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
            (status.to_string(), problem_response(status, &kinds, problem_schema().into()).into())
        };
        problems.map(response).collect()
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
