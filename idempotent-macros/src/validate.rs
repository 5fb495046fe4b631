//! What can be told wrong before the compiler sees the expansion.

use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{FnArg, Lifetime, Safety, Type};

use crate::{
    faults::Faults,
    handler::{Handler, type_path},
    messages as say,
    options::{Options, WordOrValue},
    time::Time,
    variables,
};

/// The runtime's defaults, which live in `Policy::new`; here only to judge the other value.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// What `Policy::checked` allows, here to say it at the user's token.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// axum implements `Handler` for functions of up to sixteen arguments.
const MOST_ARGUMENTS: usize = 16;

/// Extractors of axum that take the request's body. Only the last argument can have it.
const TAKES_BODY: [&str; 7] = ["Json", "Form", "Bytes", "Request", "Multipart", "RawForm", "Body"];

/// What a `Claim` knows once its handler runs.
const OF_THE_CLAIM: [&str; 8] = ["derive_key", "key", "fence", "recovering", "protected", "lost", "step", "step_in"];

pub(crate) fn validate(options: &Options, handler: &Handler, faults: &mut Faults) {
    durations(options, faults);
    qualifiers(handler, faults);
    arguments(handler, faults);
    expressions(options, handler, faults);
    if let (Some(header), Some(WordOrValue::Value(_))) = (&options.header, &options.key) {
        faults.push(say::header_beside_a_key(header));
    }
    if let Some(again) = &handler.attributes.again {
        faults.push(say::second_attribute(again));
    }
    if let Some(attribute) = handler.attributes.function.first().filter(|_| handler.names_self()) {
        faults.push(say::self_below_a_macro(attribute.path()));
    }
}

fn expressions(options: &Options, handler: &Handler, faults: &mut Faults) {
    let bindings = handler.bindings();
    for (option, expression, words) in options.expressions() {
        let names = variables::names(expression);
        if !bindings.iter().any(|name| names.contains(name)) {
            faults.push(say::names_no_argument(option, expression, &names, &bindings, words));
        }
        for argument in handler.arguments().filter(|argument| named_among(&argument.ty, &["Claim"]).is_some()) {
            for claim in variables::bound(&argument.pat) {
                if let Some(place) = variables::called_on(expression, &claim, &OF_THE_CLAIM) {
                    faults.push(say::uses_the_claim(option, &place));
                }
            }
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
    if sig.generics.lifetimes().any(|it| it.lifetime.ident == "async_trait") {
        faults.push(say::async_trait(&sig.ident));
        return;
    }
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
    }
    if let Some(first_too_many) = inputs.iter().nth(MOST_ARGUMENTS) {
        faults.push(say::too_many_arguments(first_too_many, inputs.len()));
    }
    if let Some(next) = middleware(handler) {
        faults.push(say::middleware(next));
        return;
    }
    let last = handler.arguments().count().saturating_sub(1);
    for (at, argument) in handler.arguments().enumerate() {
        match (borrow_in(argument.ty.to_token_stream()), &*argument.ty) {
            (Some(Borrow::Elided), Type::Reference(reference)) => faults.push(say::borrowed_argument(reference)),
            (Some(Borrow::Elided), ty) => faults.push(say::borrowing_argument(ty)),
            (Some(Borrow::Named(lifetime)), _) => faults.push(say::borrowing_argument(lifetime)),
            (None, _) => {}
        }
        if let Some(cfg) = argument.attrs.iter().find(|it| it.path().is_ident("cfg")) {
            faults.push(say::conditional_argument(cfg));
        }
        if let Some(name) = of_axum_among(&argument.ty, &TAKES_BODY).filter(|_| at < last) {
            faults.push(say::body_before_last(&argument.ty, &name));
        }
    }
}

/// `next: Next` at the end, behind a request: what `axum::middleware::from_fn` takes.
fn middleware(handler: &Handler) -> Option<&Type> {
    let mut from_the_end = handler.arguments().collect::<Vec<_>>().into_iter().rev();
    let (last, before) = (from_the_end.next()?, from_the_end.next()?);
    named_among(&last.ty, &["Next"])?;
    named_among(&before.ty, &["Request"])?;
    Some(&last.ty)
}

/// What an argument's type borrows; a handler has nothing to borrow from.
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
            // `for<'a> fn(&'a str)` and `fn(&str)` borrow nothing themselves.
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

/// The same, where the path begins with `axum`: a bare name may be the user's own type.
fn of_axum_among(ty: &Type, names: &[&str]) -> Option<String> {
    let first = type_path(ty)?.segments.first()?;
    (first.ident == "axum").then(|| named_among(ty, names)).flatten()
}
