//! The expansion: the only file that quotes code.
//!
//! No logic goes into it. What a handler's expansion says is who is called with what; how a key is
//! claimed and a response replayed is for the runtime to know.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, TokenStreamExt as _, format_ident, quote};
use syn::{Expr, Generics, PatType, Path, ReturnType, Signature, spanned::Spanned as _};

use crate::{
    attributes::DebugHandler,
    generics,
    handler::{Handler, only_binding},
    options::Options,
    scope,
    time::Time,
};

/// Renders a wrapper around the function, which itself stays as it came:
///
/// ```text
/// #[idempotent(ttl = "24h")]
/// pub async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<Json<Payment>, Error> { … }
/// ```
/// becomes
/// ```text
/// pub async fn pay(app: State<App>, request: Captured<Json<New>>) -> Response {
///     async fn pay(State(app): State<App>, Json(new): Json<New>) -> Result<Json<Payment>, Error> { … }
///     static POLICY: Policy = Policy::new("pay").ttl(Duration::from_secs(86_400)).checked();
///     request.protect(&POLICY, move |new| pay(app, new)).await
/// }
/// ```
/// with every path of ours spelled from `::idempotent_runtime` on.
pub(crate) fn render(options: &Options, handler: &Handler) -> TokenStream {
    let private = private(options.krate.as_ref());
    let names = Names::of(handler);
    let Handler { attributes, vis, sig, body } = handler;

    let outward = &attributes.wrapper;
    let inward = &attributes.function;
    let debug_handler = attributes.debug_handler.as_ref().map(|it| debug_handler(it, handler, &private, options));
    let (debug_handler, store_check) = debug_handler.unzip();
    let wrapper = signature(handler, &names, &private);
    let policy = policy(options, handler, &private);
    let policy_name = policy_name(options);
    let request = &names.request;
    let scoped = options.scope.as_ref().map(|expression| scoped(expression, handler, &names, &private));
    let (handler_value, run) = run(handler, &names);

    // The static stands in a block of its own, where neither the user's function nor the scope's
    // expression can see it: items have no hygiene.
    let content = quote! {
        #(#inward)*
        #sig #body
        #store_check
        #scoped
        {
            static #policy_name: #private::Policy = #policy;
            #handler_value
            #request.protect(&#policy_name, #run).await
        }
    };
    let wrapper_body = braced(content, body.span());
    quote! {
        #(#outward)*
        #debug_handler
        #vis #wrapper #wrapper_body
    }
}

/// Puts the attributes that must see the user's signature above ours, which is then expanded anew:
///
/// `#[idempotent] #[utoipa::path(post, …)]` → `#[utoipa::path(post, …)] #[idempotent]`
pub(crate) fn hoist(handler: &Handler, options: &Options, written: &TokenStream) -> TokenStream {
    let krate = krate(options.krate.as_ref());
    let Handler { attributes, vis, sig, body } = handler;
    let hoisted = &attributes.hoisted;
    let others = attributes.without_hoisted();
    quote! {
        #(#hoisted)*
        #[#krate::idempotent(#written)]
        #(#others)*
        #vis #sig #body
    }
}

/// What the wrapper calls things.
///
/// These names are seen in the documentation of the user's crate, so they are the user's own where
/// a pattern binds just one. They cannot meet names of the user's code: hygiene keeps them apart.
struct Names {
    /// One for each argument.
    arguments: Vec<Ident>,
    /// The wrapper's last parameter.
    request: Ident,
}

impl Names {
    fn of(handler: &Handler) -> Self {
        let request = Ident::new("request", Span::mixed_site());
        let last = handler.sig.inputs.len().saturating_sub(1);
        let arguments = handler.arguments().enumerate().map(|(at, argument)| {
            only_binding(&argument.pat)
                .filter(|name| at == last || *name != request)
                .filter(|name| !name.to_string().starts_with('_'))
                .map_or_else(
                    || format_ident!("__arg{at}", span = Span::mixed_site()),
                    |mut name| {
                        name.set_span(name.span().resolved_at(Span::mixed_site()));
                        name
                    },
                )
        });
        Self { arguments: arguments.collect(), request }
    }
}

fn krate(path: Option<&Path>) -> TokenStream {
    path.map_or_else(|| quote! { ::idempotent_runtime }, |path| quote! { #path })
}

fn private(path: Option<&Path>) -> TokenStream {
    let krate = krate(path);
    quote! { #krate::__private }
}

/// The user's signature with the last argument's type wrapped and our response returned.
fn signature(handler: &Handler, names: &Names, private: &TokenStream) -> TokenStream {
    let Signature { asyncness, fn_token, ident, generics, paren_token, output, .. } = &handler.sig;
    let request = &names.request;

    let mut parameters: Vec<TokenStream> = (handler.arguments().zip(&names.arguments))
        .map(|(argument, name)| {
            let ty = &argument.ty;
            quote! { #name: #ty }
        })
        .collect();
    parameters.pop();
    parameters.push(handler.arguments().last().map_or_else(
        || quote! { #request: #private::Captured<()> },
        |PatType { ty, .. }| {
            let captured = at(ty.span(), quote! { #private::Captured });
            quote! { #request: #captured<#ty> }
        },
    ));

    let generics = generics::outliving(generics);
    let (parameters_of_type, _, where_clause) = generics.split_for_impl();

    // With the user's spans from the first token to the last: lints about the function as a whole
    // (`dead_code`) are silent when part of its signature is a macro's.
    let place = match output {
        ReturnType::Default => paren_token.span.close(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let output = at(place, quote! { -> #private::Response });

    let mut tokens = quote! { #asyncness #fn_token #ident #parameters_of_type };
    paren_token.surround(&mut tokens, |tokens| tokens.append_separated(parameters, quote! { , }));
    tokens.extend(quote! { #output #where_clause });
    tokens
}

/// `POLICY`, unless a duration of the user is a constant of that name.
fn policy_name(options: &Options) -> Ident {
    let taken = [&options.ttl, &options.lease, &options.wait]
        .into_iter()
        .any(|time| matches!(time, Some(Time::Named(path)) if path.is_ident("POLICY")));
    Ident::new(if taken { "__POLICY" } else { "POLICY" }, Span::mixed_site())
}

/// Only what the user wrote; all else is the runtime's default.
fn policy(options: &Options, handler: &Handler, private: &TokenStream) -> TokenStream {
    let name = handler.name();
    let ttl = options.ttl.as_ref().map(|it| time(it, private)).map(|it| quote! { .ttl(#it) });
    let lease = options.lease.as_ref().map(|it| time(it, private)).map(|it| quote! { .lease(#it) });
    let wait = options.wait.as_ref().map(|it| time(it, private)).map(|it| quote! { .wait(#it) });
    let required = options.required.as_ref().map(|it| quote! { .required(#it) });
    let replay = options.replay.as_ref().map(|it| quote! { .replay(#private::ReplayPolicy::#it) });
    let takeover = options.takeover.as_ref().map(|it| quote! { .takeover(#private::Takeover::#it) });
    let key = options.key.as_ref().map(|it| quote! { .key(#private::KeyFormat::#it) });
    quote! {
        #private::Policy::new(#name) #ttl #lease #wait #required #replay #takeover #key .checked()
    }
}

fn time(time: &Time, private: &TokenStream) -> TokenStream {
    match time {
        Time::Named(path) => quote! { #path },
        Time::Known { value, .. } if value.subsec_nanos() == 0 => {
            let seconds = grouped(value.as_secs().into());
            quote! { #private::Duration::from_secs(#seconds) }
        }
        Time::Known { value, .. } => {
            let millis = grouped(value.as_millis());
            quote! { #private::Duration::from_millis(#millis) }
        }
    }
}

/// `86400` → `86_400`, as a person would write it.
fn grouped(number: u128) -> Literal {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text.parse().unwrap_or_else(|_| Literal::u128_unsuffixed(number))
}

/// `scope = user.id` →
/// `let request = { let Extension(user) = &user; request.scoped(…::scope(&user.id)) };`
///
/// Only the arguments that the expression names are borrowed, each through its own pattern.
fn scoped(expression: &Expr, handler: &Handler, names: &Names, private: &TokenStream) -> TokenStream {
    let wanted = scope::names(expression.to_token_stream());
    let last = names.arguments.len().saturating_sub(1);
    let request = &names.request;
    let mut borrows = TokenStream::new();
    for (index, (argument, name)) in handler.arguments().zip(&names.arguments).enumerate() {
        let mut is_named = false;
        scope::bindings(&argument.pat, &mut |ident| {
            is_named |= wanted.contains(&ident.to_string());
        });
        if !is_named {
            continue;
        }
        let pattern = scope::borrowed(&argument.pat, &wanted);
        borrows.extend(if index == last {
            quote! { let #pattern = #request.last(); }
        } else {
            quote! { let #pattern = &#name; }
        });
    }
    let result = Ident::new("scope", Span::mixed_site());
    // At the user's expression, so that what is no `Display` is reported there.
    let scope = at(expression.span(), quote! { #private::scope });
    quote! {
        let #request = {
            #borrows
            let #result = #scope(&#expression);
            #request.scoped(#result)
        };
    }
}

/// What runs when the claim is made: the user's function, with its arguments.
///
/// It is named as a value before it is called, for else clippy takes an `async fn` without an
/// `.await` for a mistake. Of a function that axum calls it would not say so.
fn run(handler: &Handler, names: &Names) -> (Option<TokenStream>, TokenStream) {
    let ident = &handler.sig.ident;
    let turbofish = turbofish(&handler.sig.generics);
    let function = Ident::new("handler", Span::mixed_site());
    let bind = quote! { let #function = #ident #turbofish; };
    match names.arguments.as_slice() {
        [] => (Some(bind), quote! { move |()| #function() }),
        [_only] => (None, quote! { #ident #turbofish }),
        arguments @ [.., last] => (Some(bind), quote! { move |#last| #function(#(#arguments),*) }),
    }
}

/// `::<T, N>`, or nothing.
fn turbofish(generics: &Generics) -> Option<TokenStream> {
    let arguments = generics::arguments(generics);
    (!arguments.is_empty()).then(|| quote! { ::<#(#arguments),*> })
}

/// `debug_handler` as it stands on the wrapper, and our own check beside it.
///
/// It infers the state from the arguments, and one of them is wrapped now: so it is told. Any
/// state that offers an `Idempotency` can do where the handler names none, and the smallest such
/// state is an `Idempotency` itself.
fn debug_handler(
    debug: &DebugHandler,
    handler: &Handler,
    private: &TokenStream,
    options: &Options,
) -> (TokenStream, TokenStream) {
    let DebugHandler { condition, path, arguments } = debug;
    let krate = krate(options.krate.as_ref());
    let state = match (debug.state(), handler.states().as_slice()) {
        (Some(written), _) => Some(written),
        (None, []) => Some(at(path.span(), quote! { #krate::Idempotency })),
        (None, [state]) => Some(state.to_token_stream()),
        // It asks the user which one.
        (None, _) => None,
    };
    let arguments = match &state {
        Some(state) if arguments.is_empty() => quote! { state = #state },
        _ => arguments.clone(),
    };
    let attribute = if let Some(condition) = condition {
        quote! { #[cfg_attr(#condition, #path(#arguments))] }
    } else {
        quote! { #[#path(#arguments)] }
    };
    // Of a generic handler `debug_handler` itself says that it cannot check it.
    let checked = state.filter(|_| handler.sig.generics.params.is_empty());
    let check = checked.map(|state| {
        let cfg = condition.as_ref().map(|condition| quote! { #[cfg(#condition)] });
        let span = state.span();
        let offers = at(span, quote! { #private::assert_state_offers_idempotency });
        quote! { #cfg const _: () = #offers::<#state>(); }
    });
    (attribute, check.unwrap_or_default())
}

/// Braces with the user's span: see `signature`.
fn braced(content: TokenStream, place: Span) -> Group {
    let mut group = Group::new(Delimiter::Brace, content);
    group.set_span(place);
    group
}

/// Our own tokens at the place of the user's: errors about them are shown there.
fn at(place: Span, tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(place);
            token
        })
        .collect()
}
