//! Describes a protected handler for `aide`.
//!
//! aide asks the types of a handler's arguments, and types know no options. So only what all handlers have in common is
//! described, and the parameter where no option changes it.
#![expect(clippy::default_trait_access, reason = "aide's maps are of a crate that is no dependency of ours")]

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{
        Example, Header, HeaderStyle, MediaType, Operation, Parameter, ParameterData, ParameterSchemaOrContent,
        ReferenceOr, Response, SchemaObject,
    },
};
use serde_json::{Map, Value, json};

use super::facts::{self, KeyParameter};
use crate::{
    claim::Claim,
    config::policy::Policy,
    http::{
        captured::{Captured, source::Source},
        deferred::Deferred,
    },
    problem::ProblemKind,
};

impl OperationInput for Claim {}

/// For a handler whose key is required and is in the service's header.
impl<T: OperationInput, P> OperationInput for Captured<T, P> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        T::operation_input(ctx, operation);
        operation
            .parameters
            .extend(KeyParameter::from_policy(&Policy::new("")).map(key_parameter).map(ReferenceOr::Item));
    }

    fn inferred_early_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Response)> {
        with_problems(T::inferred_early_responses(ctx, operation))
    }
}

/// For a handler whose options say where the key is, whether it is required, or what must be the same in a retry. The
/// type does not know them.
impl<T: OperationInput, P: Source> OperationInput for Deferred<T, P> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        T::operation_input(ctx, operation);
    }

    fn inferred_early_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Response)> {
        with_problems(T::inferred_early_responses(ctx, operation))
    }
}

/// Adds the problems to the responses of an extractor. Both may have the same status.
fn with_problems(mut responses: Vec<(Option<u16>, Response)>) -> Vec<(Option<u16>, Response)> {
    for (status, kinds) in facts::problems(&Policy::new("")) {
        let problem = problem_response(status, &kinds);
        match responses.iter_mut().find(|(code, _)| *code == Some(status)) {
            Some((_, response)) => {
                response.headers.extend(problem.headers);
                response.content.extend(problem.content);
            }
            None => responses.push((Some(status), problem)),
        }
    }
    responses
}

fn key_parameter(key: KeyParameter) -> Parameter {
    let KeyParameter { name, required, description, format, max_length } = key;
    let mut schema = members(json!({ "type": "string", "minLength": 1, "maxLength": max_length }));
    schema.extend(format.map(|format| ("format".to_owned(), format.into())));
    let parameter_data = ParameterData {
        name,
        description: Some(description),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema_object(schema)),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    };
    Parameter::Header { parameter_data, style: HeaderStyle::Simple }
}

fn problem_response(status: u16, kinds: &[ProblemKind]) -> Response {
    let example = |kind: &ProblemKind| {
        let (summary, value) = (Some(kind.title().to_owned()), Some(facts::example(*kind)));
        (kind.slug().to_owned(), ReferenceOr::Item(Example { summary, value, ..Example::default() }))
    };
    let content = MediaType {
        schema: Some(schema_object(problem_schema())),
        examples: kinds.iter().map(example).collect(),
        ..MediaType::default()
    };
    let header = |(name, means): (&str, &str)| {
        let ty = if name == "Retry-After" { "integer" } else { "string" };
        (name.to_owned(), ReferenceOr::Item(header(ty, means)))
    };
    Response {
        description: facts::description(status).to_owned(),
        headers: facts::headers(status).into_iter().map(header).collect(),
        content: [(facts::PROBLEM_JSON.to_owned(), content)].into_iter().collect(),
        ..Response::default()
    }
}

fn header(ty: &str, means: &str) -> Header {
    Header {
        description: Some(means.to_owned()),
        style: HeaderStyle::Simple,
        required: false,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(schema_object(members(json!({ "type": ty })))),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    }
}

fn problem_schema() -> Map<String, Value> {
    let member = |member: &facts::Member| {
        let ty = if member.is_number { "integer" } else { "string" };
        let mut schema = members(json!({ "type": ty, "description": member.means }));
        schema.extend(member.format.map(|format| ("format".to_owned(), format.into())));
        (member.name.to_owned(), Value::Object(schema))
    };
    let properties: Map<String, Value> = facts::MEMBERS.iter().map(member).collect();
    let required: Vec<&str> = facts::MEMBERS.iter().map(|member| member.name).collect();
    members(json!({
        "type": "object",
        "description": "A problem of RFC 9457.",
        "required": required,
        "properties": properties,
    }))
}

fn schema_object(schema: Map<String, Value>) -> SchemaObject {
    SchemaObject { json_schema: schema.into(), external_docs: None, example: None }
}

/// The members of a JSON object that is written in this file.
fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
