//! The user's function inside the wrapper.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, TokenStreamExt as _, quote};
use syn::{
    FnArg, GenericArgument, GenericParam, Generics, Ident, PatType, Path, PathArguments, ReturnType, Signature, Type,
    TypeParamBound, parse_quote,
};

use super::names::Names;
use crate::{handler::Handler, options::Options, variables};

/// How the user's function is called.
pub(super) struct Function {
    /// What has to stand at the start of the wrapper.
    pub(super) items: TokenStream,
    /// What has to stand before the call.
    pub(super) before: TokenStream,
    /// What runs behind the claim.
    pub(super) run: TokenStream,
}

/// Renders an asynchronous closure, in which `Self` and the generics of an impl keep their meaning:
///
/// `async fn pay(State(app): State<App>, Json(new): Json<New>) -> R { … }` →
/// `let __handler = async |State(app): State<App>, Json(new): Json<New>| -> R { … };` and
/// `move |new| __handler(app, new)`
///
/// or a function inside the wrapper, where a closure cannot stand: see [`needs_an_item`].
pub(super) fn render(options: &Options, handler: &Handler, names: &Names) -> Function {
    let sig = signature(handler, options);
    let value = &names.handler;
    let (items, function) = if needs_an_item(handler) {
        let Handler { attributes, body, .. } = handler;
        let (inward, ident, generics) = (&attributes.function, &sig.ident, arguments(&sig.generics));
        let turbofish = (!generics.is_empty()).then(|| quote! { ::<#(#generics),*> });
        (quote! { #(#inward)* #sig #body }, quote! { #ident #turbofish })
    } else {
        closure(&sig, handler)
    };
    let bound = quote! { let #value = #function; };
    match names.arguments.as_slice() {
        [] => Function { items, before: bound, run: quote! { move |()| #value() } },
        [_only] => Function { items, before: TokenStream::new(), run: function },
        arguments @ [.., last] => {
            Function { items, before: bound, run: quote! { move |#last| #value(#(#arguments),*) } }
        }
    }
}

/// Whether the function must be an item: a macro below ours wants one, it calls itself by its name, or it has what closures
/// do not have.
fn needs_an_item(handler: &Handler) -> bool {
    let Handler { attributes, sig, body, .. } = handler;
    let inner_attribute = matches!(body.stream().into_iter().next(), Some(TokenTree::Punct(it)) if it.as_char() == '#')
        && matches!(body.stream().into_iter().nth(1), Some(TokenTree::Punct(it)) if it.as_char() == '!');
    !attributes.function.is_empty()
        || inner_attribute
        || handler.arguments().any(|argument| has_impl(argument.ty.to_token_stream()))
        || variables::calls_itself(body.stream(), &sig.ident)
}

fn has_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "impl",
        TokenTree::Group(group) => has_impl(group.stream()),
        _ => false,
    })
}

/// The user's own, to the token; but an argument may be there for an option alone, which is a use.
fn signature(handler: &Handler, options: &Options) -> Signature {
    let mut sig = handler.sig.clone();
    let in_options = variables::wanted(options.expressions().map(|(_, expression, _)| expression));
    if in_options.is_empty() {
        return sig;
    }
    let in_body = variables::names_in(handler.body.stream());
    let perhaps_unused = |name: &String| !in_body.contains(name) || handler.is_ambiguous(name);
    for input in &mut sig.inputs {
        if let FnArg::Typed(argument) = input
            && variables::bound(&argument.pat).iter().any(|name| in_options.contains(name) && perhaps_unused(name))
        {
            argument.attrs.push(parse_quote! { #[allow(unused_variables)] });
        }
    }
    sig
}

/// The closure, behind the traits that its type can no longer name: an import of theirs has a use.
fn closure(sig: &Signature, handler: &Handler) -> (TokenStream, TokenStream) {
    let mut traits = Vec::new();
    let arguments: Vec<&PatType> = sig
        .inputs
        .iter()
        .filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let mut tokens = sig.asyncness.to_token_stream();
    tokens.extend(quote! { | });
    tokens.append_separated(arguments, quote! { , });
    tokens.extend(quote! { | });
    match &sig.output {
        ReturnType::Default => tokens.extend(quote! { -> () }),
        ReturnType::Type(arrow, ty) => {
            let mut ty = (**ty).clone();
            infer_impls(&mut ty, &mut traits);
            arrow.to_tokens(&mut tokens);
            ty.to_tokens(&mut tokens);
        }
    }
    handler.body.to_tokens(&mut tokens);
    (quote! { #(#[allow(unused_imports)] use #traits as _;)* }, tokens)
}

/// `Result<impl IntoResponse, E>` → `Result<_, E>`, for a closure cannot say the former.
fn infer_impls(ty: &mut Type, traits: &mut Vec<Path>) {
    match ty {
        Type::ImplTrait(bounds) => {
            traits.extend(bounds.bounds.iter().filter_map(|bound| match bound {
                TypeParamBound::Trait(bound) => Some(without_arguments(&bound.path)),
                _ => None,
            }));
            *ty = parse_quote! { _ };
        }
        Type::Path(path) => {
            for segment in &mut path.path.segments {
                let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else { continue };
                for argument in &mut arguments.args {
                    if let GenericArgument::Type(ty) = argument {
                        infer_impls(ty, traits);
                    }
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|ty| infer_impls(ty, traits)),
        Type::Paren(paren) => infer_impls(&mut paren.elem, traits),
        Type::Group(group) => infer_impls(&mut group.elem, traits),
        Type::Array(array) => infer_impls(&mut array.elem, traits),
        _ => {}
    }
}

/// `Into<u64>` → `Into`
fn without_arguments(path: &Path) -> Path {
    let mut path = path.clone();
    path.segments.iter_mut().for_each(|segment| segment.arguments = PathArguments::None);
    path
}

/// `T` and `N` of `<'a, T: Clone, const N: usize>`: what a call names.
fn arguments(generics: &Generics) -> Vec<&Ident> {
    (generics.params.iter())
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect()
}
