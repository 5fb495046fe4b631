//! Reports errors in the options and in the function before the compiler sees the expansion.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{FnArg, Lifetime, ReturnType, Safety, Type};

use crate::{
    errors::Errors,
    handler::{Handler, type_path},
    messages as say,
    options::{Options, WordOrValue},
    time::Time,
    variables,
};

/// The limits of `Policy::checked` in the runtime. They are checked here as well, to report the error at the user's token.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// axum implements `Handler` for functions of up to sixteen arguments.
const MOST_ARGUMENTS: usize = 16;

/// The methods of a `Claim` that work only when the handler runs.
const CLAIM_METHODS: [&str; 8] = ["derive_key", "key", "fence", "recovering", "protected", "lost", "step", "step_in"];

pub(crate) fn validate(options: &Options, handler: &Handler, errors: &mut Errors) {
    durations(options, errors);
    qualifiers(handler, errors);
    arguments(handler, errors);
    expressions(options, handler, errors);
    if let ReturnType::Type(_, ty) = &handler.sig.output
        && let Some(stream) = event_stream(ty.to_token_stream())
    {
        errors.push(say::event_stream(&stream));
    }
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
        for argument in handler.arguments().filter(|argument| is_named(&argument.ty, "Claim")) {
            for claim in variables::bound(&argument.pat) {
                if let Some(place) = variables::called_on(expression, &claim, &CLAIM_METHODS) {
                    errors.push(say::uses_the_claim(option, &place));
                }
            }
        }
    }
}

/// Checks the durations that the attribute itself states. The service may have other defaults than `Policy`, and a default
/// that does not fit gives way.
fn durations(options: &Options, errors: &mut Errors) {
    let [ttl, lease, wait] =
        [&options.ttl, &options.lease, &options.wait].map(|time| time.as_ref().and_then(Time::known));
    if let Some((lease, place)) = lease {
        if lease < SHORTEST {
            errors.push(say::lease_too_short(place));
        } else if lease > LONGEST_LEASE {
            errors.push(say::lease_too_long(place));
        }
    }
    let Some((ttl, place)) = ttl else { return };
    if ttl < SHORTEST {
        errors.push(say::ttl_too_short(place));
    }
    if let Some((lease, _)) = lease.filter(|(lease, _)| ttl < *lease) {
        errors.push(say::ttl_below_lease(place, ttl, lease));
    }
    if let Some((wait, place)) = wait.filter(|(wait, _)| *wait > ttl) {
        errors.push(say::wait_above_ttl(place, wait, ttl));
    }
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
    for argument in handler.arguments() {
        match (borrow_in(argument.ty.to_token_stream()), &*argument.ty) {
            (Some(Borrow::Elided), Type::Reference(reference)) => errors.push(say::borrowed_argument(reference)),
            (Some(Borrow::Elided), ty) => errors.push(say::borrowing_argument(ty)),
            (Some(Borrow::Named(lifetime)), _) => errors.push(say::borrowing_argument(lifetime)),
            (None, _) => {}
        }
        if let Some(cfg) = argument.attrs.iter().find(|it| it.path().is_ident("cfg")) {
            errors.push(say::conditional_argument(cfg));
        }
    }
}

/// The type `Next` of a function for `axum::middleware::from_fn`, which ends in a request and `next: Next`.
fn middleware(handler: &Handler) -> Option<&Type> {
    let mut from_the_end = handler.arguments().collect::<Vec<_>>().into_iter().rev();
    let (last, before) = (from_the_end.next()?, from_the_end.next()?);
    (is_named(&last.ty, "Next") && is_named(&before.ty, "Request")).then_some(&*last.ty)
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

/// The `Sse` of `Sse<…>`, wherever it is in the response's type, as in `Result<Sse<…>, E>`.
fn event_stream(ty: TokenStream) -> Option<Ident> {
    let mut tokens = ty.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match token {
            TokenTree::Group(group) => event_stream(group.stream()),
            TokenTree::Ident(name) if name == "Sse" && tokens.peek().is_some_and(|next| variables::is(next, '<')) => {
                Some(name)
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn is_named(ty: &Type, name: &str) -> bool {
    type_path(ty).and_then(|path| path.segments.last()).is_some_and(|last| last.ident == name)
}
