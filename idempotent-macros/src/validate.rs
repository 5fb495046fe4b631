//! What can be told wrong before the compiler sees the expansion.

use std::time::Duration;

use proc_macro2::TokenTree;
use quote::ToTokens as _;
use syn::{FnArg, ReturnType, Safety, Type};

use crate::{
    diagnostics as say,
    faults::Faults,
    handler::{Handler, type_path},
    options::Options,
    scope, self_type,
    time::Time,
};

/// The runtime's defaults, which live in `Policy::new`; here only to judge the other value.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// What `Policy::checked` allows, here to say it at the user's token.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// axum implements `Handler` for functions of up to sixteen arguments.
const MOST_ARGUMENTS: usize = 16;

/// Extractors that take the request's body. Only the last argument can have it.
const TAKES_BODY: [&str; 8] = ["Json", "Form", "Bytes", "String", "Request", "Multipart", "RawForm", "Protobuf"];

/// Responses that go on for as long as the client listens: there is nothing to store.
const ENDLESS: [&str; 3] = ["Sse", "JsonLines", "StreamBody"];

pub(crate) fn validate(options: &Options, handler: &Handler, faults: &mut Faults) {
    durations(options, faults);
    qualifiers(handler, faults);
    arguments(handler, faults);
    response(handler, faults);
    if let Some(again) = &handler.attributes.again {
        faults.push(say::second_attribute(again));
    }
    if let Some(expression) = &options.scope {
        let names = scope::names(expression);
        let bindings = handler.bindings();
        if !bindings.iter().any(|name| names.contains(name)) {
            faults.push(say::scope_without_argument(expression, &names, &bindings));
        }
    }
}

fn durations(options: &Options, faults: &mut Faults) {
    if let Some((lease, Some(at))) = options.lease.as_ref().and_then(with_place) {
        if lease < SHORTEST_LEASE {
            faults.push(say::lease_too_short(at));
        } else if lease > LONGEST_LEASE {
            faults.push(say::lease_too_long(at));
        }
    }
    let ttl = limit(options.ttl.as_ref(), DEFAULT_TTL);
    let lease = limit(options.lease.as_ref(), DEFAULT_LEASE);
    if let (Some((ttl, ttl_at)), Some((lease, lease_at))) = (ttl, lease)
        && ttl < lease
    {
        match (ttl_at, lease_at) {
            (Some(at), None) => faults.push(say::ttl_below_default_lease(at, ttl, lease)),
            (Some(at), Some(_)) => faults.push(say::ttl_below_lease(at, ttl, lease)),
            (None, Some(at)) => faults.push(say::lease_above_default_ttl(at, ttl, lease)),
            (None, None) => {}
        }
    }
    if let (Some((ttl, _)), Some((wait, Some(at)))) = (ttl, options.wait.as_ref().and_then(with_place))
        && wait > ttl
    {
        faults.push(say::wait_above_ttl(at, wait, ttl));
    }
}

type Placed = (Duration, Option<proc_macro2::Span>);

fn with_place(time: &Time) -> Option<Placed> {
    time.known().map(|(value, span)| (value, Some(span)))
}

/// The value that is in force, unless only a constant knows it.
fn limit(time: Option<&Time>, default: Duration) -> Option<Placed> {
    time.map_or(Some((default, None)), with_place)
}

fn qualifiers(handler: &Handler, faults: &mut Faults) {
    let sig = &handler.sig;
    if sig.asyncness.is_none() {
        faults.push(say::not_async(sig.fn_token));
    }
    if let Some(token) = &sig.constness {
        faults.push(say::qualified(token, "const"));
    }
    if !matches!(sig.safety, Safety::Default) {
        faults.push(say::qualified(&sig.safety, &sig.safety.to_token_stream().to_string()));
    }
    if let Some(abi) = &sig.abi {
        faults.push(say::qualified(abi, "extern"));
    }
    if let Some(variadic) = &sig.variadic {
        faults.push(say::variadic(variadic));
    }
}

fn arguments(handler: &Handler, faults: &mut Faults) {
    let inputs = &handler.sig.inputs;
    if let Some(FnArg::Receiver(receiver)) = inputs.first() {
        faults.push(say::receiver(receiver));
    } else if let Some(place) =
        self_type::in_signature(handler.sig.to_token_stream()).or_else(|| self_type::in_body(handler.body.stream()))
    {
        faults.push(say::self_type(&place));
    }
    if let Some(first_too_many) = inputs.iter().nth(MOST_ARGUMENTS) {
        faults.push(say::too_many_arguments(first_too_many, inputs.len()));
    }
    let last = handler.arguments().count().saturating_sub(1);
    for (at, argument) in handler.arguments().enumerate() {
        if let Type::Reference(reference) = &*argument.ty {
            faults.push(say::borrowed_argument(reference));
        }
        if let Some(cfg) = argument.attrs.iter().find(|it| it.path().is_ident("cfg")) {
            faults.push(say::conditional_argument(cfg));
        }
        if let Some(name) = named_among(&argument.ty, &TAKES_BODY).filter(|_| at < last) {
            faults.push(say::body_before_last(&argument.ty, &name));
        }
    }
}

fn named_among(ty: &Type, names: &[&str]) -> Option<String> {
    let name = type_path(ty)?.segments.last()?.ident.to_string();
    names.contains(&name.as_str()).then_some(name)
}

fn response(handler: &Handler, faults: &mut Faults) {
    let ReturnType::Type(_, ty) = &handler.sig.output else {
        return;
    };
    // `Result<Sse<…>, E>` and `(Headers, Sse<…>)` are streams as well.
    let mut tokens: Vec<TokenTree> = ty.to_token_stream().into_iter().collect();
    while let Some(token) = tokens.pop() {
        match token {
            TokenTree::Group(group) => tokens.extend(group.stream()),
            TokenTree::Ident(ident) if ENDLESS.iter().any(|name| ident == name) => {
                faults.push(say::endless_response(&ident));
            }
            _ => {}
        }
    }
}
