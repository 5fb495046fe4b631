//! Describes a protected handler for `aide`.
//!
//! aide asks the types of a handler's arguments, and types know no options. So only what all handlers have in common is
//! described, and the parameter where no option changes it.

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{Operation, Response},
};

use super::facts;
use crate::{
    claim::Claim,
    config::policy::Policy,
    http::{
        captured::{Captured, source::Source},
        deferred::Deferred,
    },
};

impl OperationInput for Claim {}

/// For a handler whose key is required and is in the service's header.
impl<T: OperationInput, P> OperationInput for Captured<T, P> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        T::operation_input(ctx, operation);
        operation.parameters.extend(facts::key_parameter(&Policy::new("")).and_then(facts::read));
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
        let problem = facts::problem_response(status, &kinds, &facts::problem_schema());
        let Some(problem) = facts::read::<Response>(problem) else { continue };
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

#[cfg(test)]
mod tests {
    use aide::openapi::{Parameter, ReferenceOr};
    use serde_json::{Value, json};

    use super::*;

    /// As aide writes it, without the style of headers, which is the default one.
    fn written(described: impl serde::Serialize) -> Value {
        serde_json::from_str(&json!(described).to_string().replace(r#","style":"simple""#, "")).unwrap()
    }

    #[test]
    fn aide_reads_all_that_is_described() {
        let policy = Policy::new("");
        let described = facts::key_parameter(&policy).unwrap();
        let parameter: ReferenceOr<Parameter> = facts::read(described.clone()).unwrap();
        assert_eq!(written(parameter), described);
        let schema = facts::problem_schema();
        let described = facts::problems(&policy).into_iter().map(|(status, kinds)| {
            let mut response = facts::problem_response(status, &kinds, &schema);
            if response["headers"] == json!({}) {
                response.as_object_mut().unwrap().remove("headers");
            }
            (Some(status), response)
        });
        let responses = with_problems(Vec::new()).into_iter().map(|(status, response)| (status, written(response)));
        assert_eq!(responses.collect::<Vec<_>>(), described.collect::<Vec<_>>());
    }
}
