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

use super::facts::{
    DEFAULT_HEADER, HEADER_OPTION, PROBLEM_JSON, SET_BY_SERVICE, TAKEOVER_OPTION, TTL, TTL_OPTION, example, iso_8601,
    kept_for, read,
};
use crate::{
    config::{
        policy::{Takeover, Terms},
        settings::Settings,
    },
    idempotency::Idempotency,
    problem::{DEFAULT_BASE, ProblemKind, texts::shown},
};

/// Adds to the operations that the attribute has described: the header of this service, its defaults for `ttl` and
/// `takeover`, its base for problems, and whether it answers problems itself (`on_problem`). What the attribute says itself
/// stays.
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
    let left = operation.extensions.as_ref().and_then(|all| all.get(SET_BY_SERVICE)).cloned();
    let is_left =
        |option: &str| left.as_ref().and_then(Value::as_array).is_some_and(|left| left.iter().any(|it| it == option));
    let [sets_header, sets_takeover, sets_ttl] = [HEADER_OPTION, TAKEOVER_OPTION, TTL_OPTION].map(is_left);
    if let Some(extensions) = operation.extensions.as_mut().filter(|_| sets_ttl) {
        extensions.merge(Extensions::from_iter([(TTL, iso_8601(settings.terms.ttl))]));
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && sets_header
            && parameter.parameter_in == ParameterIn::Header
            && parameter.name == DEFAULT_HEADER
        {
            parameter.name = shown(settings.header.as_str());
        }
        if let RefOr::T(parameter) = parameter
            && let Some(description) = parameter.description.as_mut().filter(|_| sets_ttl)
        {
            *description = description.replace(&kept_for(Terms::DEFAULT.ttl), &kept_for(settings.terms.ttl));
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM_JSON) else { continue };
        // The handler's own responses have other examples.
        if !content.examples.keys().any(|name| ProblemKind::ALL.iter().any(|kind| kind.slug() == name)) {
            continue;
        }
        if settings.on_problem.is_some() {
            response.content.shift_remove(PROBLEM_JSON);
            continue;
        }
        let unknown = ProblemKind::OutcomeUnknown;
        if sets_takeover && settings.terms.takeover == Takeover::Refuse && *status == unknown.status().as_str() {
            content.examples.extend(read(example(unknown)).map(|example| (unknown.slug().to_owned(), example)));
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
