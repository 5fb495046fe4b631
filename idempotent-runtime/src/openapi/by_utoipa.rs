//! Describes a protected handler for `utoipa`, and adds the settings of a service's builder to a finished document.

use std::{collections::BTreeMap, marker::PhantomData};

use serde_json::{Value, json};
use utoipa::{
    __dev::{SchemaReferences, Tags},
    IntoParams, IntoResponses, Modify, Path,
    openapi::{
        HttpMethod, OpenApi, PathItem, Ref, RefOr,
        extensions::Extensions,
        path::{Operation, Parameter, ParameterIn},
        response::Response,
        schema::Schema,
    },
};

use super::facts;
use crate::{
    config::{
        policy::{Policy, Takeover, Terms},
        settings::Settings,
    },
    idempotency::Idempotency,
    problem::{DEFAULT_BASE, ProblemKind, texts::shown},
};

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

/// Adds to the operations that the attribute has described: the header of this service, its defaults for `ttl` and
/// `takeover`, its base for problems, and whether it answers problems itself (`on_problem`). What the attribute says itself
/// stays.
///
/// The format of `on_problem`'s answers is not known. So the content of the problems is removed, and their statuses
/// stay.
impl Modify for Idempotency {
    fn modify(&self, openapi: &mut OpenApi) {
        for operation in openapi.paths.paths.values_mut().flat_map(operations) {
            if operation.extensions.as_ref().is_some_and(|extensions| extensions.contains_key(facts::TTL)) {
                set(operation, self.settings());
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn set(operation: &mut Operation, settings: &Settings) {
    let left = operation.extensions.as_ref().and_then(|all| all.get(facts::SET_BY_SERVICE)).cloned();
    let is_left =
        |option: &str| left.as_ref().and_then(Value::as_array).is_some_and(|left| left.iter().any(|it| it == option));
    let [sets_header, sets_takeover, sets_ttl] =
        [facts::HEADER_OPTION, facts::TAKEOVER_OPTION, facts::TTL_OPTION].map(is_left);
    if let Some(extensions) = operation.extensions.as_mut().filter(|_| sets_ttl) {
        extensions.merge(Extensions::from_iter([(facts::TTL, facts::iso_8601(settings.terms.ttl))]));
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && sets_header
            && parameter.parameter_in == ParameterIn::Header
            && parameter.name == facts::DEFAULT_HEADER
        {
            parameter.name = shown(settings.header.as_str());
        }
        if let RefOr::T(parameter) = parameter
            && let Some(description) = parameter.description.as_mut().filter(|_| sets_ttl)
        {
            *description =
                description.replace(&facts::kept_for(Terms::DEFAULT.ttl), &facts::kept_for(settings.terms.ttl));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut(facts::PROBLEM_JSON) else { continue };
        // The handler's own responses have other examples.
        if !content.examples.keys().any(|name| ProblemKind::ALL.iter().any(|kind| kind.slug() == name)) {
            continue;
        }
        if settings.on_problem.is_some() {
            response.content.shift_remove(facts::PROBLEM_JSON);
            continue;
        }
        let unknown = ProblemKind::OutcomeUnknown;
        if sets_takeover && settings.terms.takeover == Takeover::Refuse && *status == unknown.status().as_str() {
            content
                .examples
                .extend(facts::read(facts::example(unknown)).map(|example| (unknown.slug().to_owned(), example)));
        }
        for example in content.examples.values_mut() {
            let RefOr::T(example) = example else { continue };
            if let Some(Value::String(uri)) = example.value.as_mut().and_then(|value| value.get_mut("type"))
                && let Some(slug) = uri.strip_prefix(DEFAULT_BASE)
            {
                *uri = format!("{}{slug}", settings.problem_base);
            }
        }
    }
}
