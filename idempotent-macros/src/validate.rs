//! Reports errors in the options and in the function before the compiler sees the expansion.

use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{FnArg, Lifetime, Safety, Type};

use crate::{
    errors::Errors,
    handler::{Handler, type_path},
    messages as say,
    options::{Options, WordOrValue},
    time::Time,
    variables,
};

/// The defaults of `Policy::new` in the runtime. If the user wrote one of the two options, it is compared with the default
/// of the other.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// The limits of `Policy::checked` in the runtime. They are checked here as well, to report the error at the user's token.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// axum implements `Handler` for functions of up to sixteen arguments.
const MOST_ARGUMENTS: usize = 16;

/// Extractors of axum that take the request's body. Only the last argument can have it.
const TAKES_BODY: [&str; 7] = ["Json", "Form", "Bytes", "Request", "Multipart", "RawForm", "Body"];

/// The methods of a `Claim` that work only when the handler runs.
const CLAIM_METHODS: [&str; 8] = ["derive_key", "key", "fence", "recovering", "protected", "lost", "step", "step_in"];

pub(crate) fn validate(options: &Options, handler: &Handler, errors: &mut Errors) {
    durations(options, errors);
    qualifiers(handler, errors);
    arguments(handler, errors);
    expressions(options, handler, errors);
    if let (Some(header), Some(WordOrValue::Value(_))) = (&options.header, &options.key) {
        errors.push(say::header_beside_a_key(header));
    }
    if let Some(second) = &handler.attributes.second {
        errors.push(say::second_attribute(second));
    }
    if let Some(attribute) = handler.attributes.function.first().filter(|_| handler.names_self()) {
        errors.push(say::self_below_a_macro(attribute.path()));
    }
}

fn expressions(options: &Options, handler: &Handler, errors: &mut Errors) {
    let bindings = handler.bindings();
    for (option, expression, words) in options.expressions() {
        let names = variables::names(expression);
        if !bindings.iter().any(|name| names.contains(name)) {
            errors.push(say::names_no_argument(option, expression, &names, &bindings, words));
        }
        for argument in handler.arguments().filter(|argument| named_among(&argument.ty, &["Claim"]).is_some()) {
            for claim in variables::bound(&argument.pat) {
                if let Some(place) = variables::called_on(expression, &claim, &CLAIM_METHODS) {
                    errors.push(say::uses_the_claim(option, &place));
                }
            }
        }
    }
}

fn durations(options: &Options, errors: &mut Errors) {
    if let Some((lease, Some(at))) = options.lease.as_ref().and_then(with_place) {
        if lease < SHORTEST_LEASE {
            errors.push(say::lease_too_short(at));
        } else if lease > LONGEST_LEASE {
            errors.push(say::lease_too_long(at));
        }
    }
    let ttl = limit(options.ttl.as_ref(), DEFAULT_TTL);
    let lease = limit(options.lease.as_ref(), DEFAULT_LEASE);
    if let (Some((ttl, ttl_at)), Some((lease, lease_at))) = (ttl, lease)
        && ttl < lease
    {
        match (ttl_at, lease_at) {
            (Some(at), None) => errors.push(say::ttl_below_default_lease(at, ttl, lease)),
            (Some(at), Some(_)) => errors.push(say::ttl_below_lease(at, ttl, lease)),
            (None, Some(at)) => errors.push(say::lease_above_default_ttl(at, ttl, lease)),
            (None, None) => {}
        }
    }
    if let (Some((ttl, _)), Some((wait, Some(at)))) = (ttl, options.wait.as_ref().and_then(with_place))
        && wait > ttl
    {
        errors.push(say::wait_above_ttl(at, wait, ttl));
    }
}

/// A duration, and its place if the user wrote it.
type Placed = (Duration, Option<proc_macro2::Span>);

fn with_place(time: &Time) -> Option<Placed> {
    time.known().map(|(value, span)| (value, Some(span)))
}

/// The value of an option, or its default. `None` if the option is a constant, whose value is not known here.
fn limit(time: Option<&Time>, default: Duration) -> Option<Placed> {
    time.map_or(Some((default, None)), with_place)
}

fn qualifiers(handler: &Handler, errors: &mut Errors) {
    let sig = &handler.sig;
    if sig.generics.lifetimes().any(|it| it.lifetime.ident == "async_trait") {
        errors.push(say::async_trait(&sig.ident));
        return;
    }
    if sig.asyncness.is_none() {
        errors.push(say::not_async(sig.fn_token));
    }
    if let Some(token) = &sig.constness {
        errors.push(say::qualified(token, "const"));
    }
    if !matches!(sig.safety, Safety::Default) {
        errors.push(say::qualified(&sig.safety, &sig.safety.to_token_stream().to_string()));
    }
    if let Some(abi) = &sig.abi {
        errors.push(say::qualified(abi, "extern"));
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(say::variadic(variadic));
    }
}

fn arguments(handler: &Handler, errors: &mut Errors) {
    let inputs = &handler.sig.inputs;
    if let Some(FnArg::Receiver(receiver)) = inputs.first() {
        errors.push(say::receiver(receiver));
    }
    if let Some(first_too_many) = inputs.iter().nth(MOST_ARGUMENTS) {
        errors.push(say::too_many_arguments(first_too_many, inputs.len()));
    }
    if let Some(next) = middleware(handler) {
        errors.push(say::middleware(next));
        return;
    }
    let last = handler.arguments().count().saturating_sub(1);
    for (at, argument) in handler.arguments().enumerate() {
        match (borrow_in(argument.ty.to_token_stream()), &*argument.ty) {
            (Some(Borrow::Elided), Type::Reference(reference)) => errors.push(say::borrowed_argument(reference)),
            (Some(Borrow::Elided), ty) => errors.push(say::borrowing_argument(ty)),
            (Some(Borrow::Named(lifetime)), _) => errors.push(say::borrowing_argument(lifetime)),
            (None, _) => {}
        }
        if let Some(cfg) = argument.attrs.iter().find(|it| it.path().is_ident("cfg")) {
            errors.push(say::conditional_argument(cfg));
        }
        if let Some(name) = of_axum_among(&argument.ty, &TAKES_BODY).filter(|_| at < last) {
            errors.push(say::body_before_last(&argument.ty, &name));
        }
    }
}

/// The type `Next` of a function for `axum::middleware::from_fn`, which ends in a request and `next: Next`.
fn middleware(handler: &Handler) -> Option<&Type> {
    let mut from_the_end = handler.arguments().collect::<Vec<_>>().into_iter().rev();
    let (last, before) = (from_the_end.next()?, from_the_end.next()?);
    named_among(&last.ty, &["Next"])?;
    named_among(&before.ty, &["Request"])?;
    Some(&last.ty)
}

/// A borrow in an argument's type. A handler must own its arguments.
enum Borrow {
    /// `&str`
    Elided,
    /// `Cow<'_, str>`
    Named(Lifetime),
}

fn borrow_in(ty: TokenStream) -> Option<Borrow> {
    let mut tokens = ty.into_iter().peekable();
    let mut in_function = false;
    while let Some(token) = tokens.next() {
        match token {
            // A function pointer, such as `for<'a> fn(&'a str)` or `fn(&str)`, borrows nothing itself.
            TokenTree::Ident(word) if word == "for" => return None,
            TokenTree::Ident(word) => in_function = ["fn", "Fn", "FnMut", "FnOnce"].iter().any(|it| word == it),
            TokenTree::Group(group) if !in_function => {
                if let Some(borrow) = borrow_in(group.stream()) {
                    return Some(borrow);
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                if let Some(TokenTree::Ident(name)) = tokens.peek()
                    && name != "static"
                {
                    return Some(Borrow::Named(Lifetime { apostrophe: punct.span(), ident: name.clone() }));
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let has_lifetime = matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '\'');
                if !has_lifetime {
                    return Some(Borrow::Elided);
                }
            }
            _ => {}
        }
    }
    None
}

fn named_among(ty: &Type, names: &[&str]) -> Option<String> {
    let name = type_path(ty)?.segments.last()?.ident.to_string();
    names.contains(&name.as_str()).then_some(name)
}

/// The same, for a path that begins with `axum`. A name without it may be the user's own type.
fn of_axum_among(ty: &Type, names: &[&str]) -> Option<String> {
    let first = type_path(ty)?.segments.first()?;
    (first.ident == "axum").then(|| named_among(ty, names)).flatten()
}
