//! Renders the user's function inside the wrapper.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt as _, quote};
use syn::{
    FnArg, GenericArgument, GenericParam, Generics, Ident, Path, PathArguments, ReturnType, Signature, Type,
    TypeParamBound, parse_quote,
};

use super::names::Names;
use crate::{
    handler::{Handler, typed},
    options::Options,
    variables,
};

/// The code that calls the user's function.
pub(super) struct Function {
    /// Items at the start of the wrapper.
    pub(super) items: TokenStream,
    /// Statements before the call of the runtime.
    pub(super) before: TokenStream,
    /// The closure that the runtime calls after it has claimed the key.
    pub(super) run: TokenStream,
}

/// Renders the user's function as an async closure, in which `Self` and the generics of an impl keep their meaning:
///
/// `async fn pay(State(app): State<App>, Json(new): Json<New>) -> R { … }` →
/// `let __handler = async |State(app): State<App>, Json(new): Json<New>| -> R { … };` and
/// `move |new| __handler(app, new)`
///
/// If a closure is not possible (see [`needs_an_item`]), renders a function inside the wrapper.
pub(super) fn render(options: &Options, handler: &Handler, names: &Names) -> Function {
    let sig = signature(handler, options);
    let value = &names.handler;
    let (items, function) = if needs_an_item(handler) {
        let Handler { attributes, body, .. } = handler;
        let (inner_attributes, ident, generics) = (&attributes.function, &sig.ident, arguments(&sig.generics));
        let turbofish = (!generics.is_empty()).then(|| quote! { ::<#(#generics),*> });
        (quote! { #(#inner_attributes)* #sig #body }, quote! { #ident #turbofish })
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

/// Whether the function must be an item. It must if it has its own attribute, which may be a macro, if it calls itself
/// by its name, or if it has what a closure cannot have: an inner attribute, an argument with `impl Trait`, or a return type
/// with an `impl Trait` that the closure's type cannot leave open, such as one inside a `dyn Trait`.
fn needs_an_item(handler: &Handler) -> bool {
    let Handler { attributes, sig, body, .. } = handler;
    let inner_attribute = matches!(body.stream().into_iter().next(), Some(TokenTree::Punct(it)) if it.as_char() == '#')
        && matches!(body.stream().into_iter().nth(1), Some(TokenTree::Punct(it)) if it.as_char() == '!');
    !attributes.function.is_empty()
        || inner_attribute
        || handler.arguments().any(|argument| has_impl(&argument.ty))
        || returns_hidden_impl(&sig.output)
        || variables::calls_itself(body.stream(), &sig.ident)
}

fn returns_hidden_impl(output: &ReturnType) -> bool {
    let ReturnType::Type(_, ty) = output else { return false };
    let mut ty = (**ty).clone();
    infer_impls(&mut ty, &mut Vec::new());
    has_impl(ty)
}

fn has_impl(code: impl ToTokens) -> bool {
    variables::has_word(code, &|word| word == "impl")
}

/// The user's signature, token for token. An argument that only an option uses gets an `allow(unused_variables)`, because
/// the compiler does not see that use in the function.
fn signature(handler: &Handler, options: &Options) -> Signature {
    let mut sig = handler.sig.clone();
    let in_options = variables::wanted(options.expressions().map(|(_, expression, _)| expression));
    if in_options.is_empty() {
        return sig;
    }
    let in_body = variables::names(handler.body.stream());
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

/// Renders imports and the closure. The imports are the traits of an `impl Trait` in the return type. The closure's type
/// cannot name them, so the compiler would report the user's import of such a trait as unused. It does not report a macro's,
/// so they need no `allow`, which `forbid(unused_imports)` would refuse.
fn closure(sig: &Signature, handler: &Handler) -> (TokenStream, TokenStream) {
    let mut traits = Vec::new();
    let mut tokens = sig.asyncness.to_token_stream();
    tokens.extend(quote! { | });
    tokens.append_separated(typed(sig), quote! { , });
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
    (quote! { #(use #traits as _;)* }, tokens)
}

/// `Result<impl IntoResponse, E>` → `Result<_, E>`, because a closure's return type cannot contain `impl Trait`. The traits
/// are added to `traits`.
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
        Type::Reference(reference) => infer_impls(&mut reference.elem, traits),
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

/// The generic arguments of a call: `T` and `N` of `<'a, T: Clone, const N: usize>`.
fn arguments(generics: &Generics) -> Vec<&Ident> {
    (generics.params.iter())
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect()
}
