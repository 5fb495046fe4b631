//! Adds the settings of a service's builder to a finished document.

use serde_json::Value;
use utoipa::{
    Modify,
    openapi::{
        OpenApi, PathItem, RefOr,
        extensions::Extensions,
        path::{Operation, ParameterIn},
    },
};

use super::facts::{DEFAULT_HEADER, PROBLEM_JSON, TTL, TTL_IS_DEFAULT, iso_8601, kept_for};
use crate::{
    config::{policy::Terms, settings::Settings},
    idempotency::Idempotency,
    problem::{DEFAULT_BASE, ProblemKind, texts::shown},
};

/// Adds to the operations that the attribute has described: the header of this service, its default ttl, its base for
/// problems, and whether it answers problems itself (`on_problem`).
///
/// The format of `on_problem`'s answers is not known. So the content of the problems is removed, and their statuses
/// stay.
impl Modify for Idempotency {
    fn modify(&self, openapi: &mut OpenApi) {
        for operation in openapi.paths.paths.values_mut().flat_map(operations) {
            if operation.extensions.as_ref().is_some_and(|extensions| extensions.contains_key(TTL)) {
                set(operation, self.settings());
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn set(operation: &mut Operation, settings: &Settings) {
    let ttl_is_default = operation.extensions.as_ref().is_some_and(|all| all.contains_key(TTL_IS_DEFAULT));
    if let Some(extensions) = operation.extensions.as_mut().filter(|_| ttl_is_default) {
        extensions.merge(Extensions::from_iter([(TTL, iso_8601(settings.terms.ttl))]));
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.parameter_in == ParameterIn::Header
            && parameter.name == DEFAULT_HEADER
        {
            parameter.name = shown(settings.header.as_str());
        }
        if let RefOr::T(parameter) = parameter
            && let Some(description) = parameter.description.as_mut().filter(|_| ttl_is_default)
        {
            *description = description.replace(&kept_for(Terms::DEFAULT.ttl), &kept_for(settings.terms.ttl));
        }
    }
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM_JSON) else { continue };
        // The handler's own responses have other examples.
        if !content.examples.keys().any(|name| ProblemKind::SLUGS.contains(&name.as_str())) {
            continue;
        }
        if settings.on_problem.is_some() {
            response.content.shift_remove(PROBLEM_JSON);
            continue;
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
