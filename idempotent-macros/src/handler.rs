//! The function below the attribute.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    Attribute, FnArg, Pat, PatType, Path, ReturnType, Signature, Type, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

use crate::{attributes::Attributes, diagnostics as say, faults::Faults, scope};

/// A handler, taken apart as little as possible: its body stays the tokens that it came as.
pub(crate) struct Handler {
    pub(crate) attributes: Attributes,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Handler {
    /// Nothing, when the item is not a function with a body.
    pub(crate) fn parse(item: &TokenStream, faults: &mut Faults) -> Option<Self> {
        match syn::parse2::<Self>(item.clone()) {
            Ok(handler) => Some(handler),
            Err(error) => {
                faults.push(say::not_a_function(item, &error));
                None
            }
        }
    }

    /// The arguments; `self` is not among them, `validate` has refused it.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The names that the arguments' patterns bind.
    pub(crate) fn bindings(&self) -> Vec<String> {
        self.arguments().flat_map(|argument| scope::bound(&argument.pat)).collect()
    }

    /// Whether two names look the same, and only `macro_rules!` knows them apart: nobody can tell which one is used.
    pub(crate) fn is_ambiguous(&self, name: &str) -> bool {
        self.bindings().iter().filter(|bound| *bound == name).count() > 1
    }

    /// The name as spans and logs show it.
    pub(crate) fn name(&self) -> String {
        self.sig.ident.unraw().to_string()
    }

    /// The states that `debug_handler` would infer: the types that stand in a `State<…>`.
    pub(crate) fn states(&self) -> Vec<&Type> {
        let mut states: Vec<&Type> = Vec::new();
        for state in self.arguments().filter_map(|argument| state_of(&argument.ty)) {
            if !states.iter().any(|it| same(it, state)) {
                states.push(state);
            }
        }
        states
    }

    /// Where the response is written down: what is wrong with it is shown there.
    pub(crate) fn response_place(&self) -> Span {
        match &self.sig.output {
            ReturnType::Default => self.sig.paren_token.span.close(),
            ReturnType::Type(_, ty) => ty.span(),
        }
    }

    /// Whether attributes stand below ours that must go above it.
    pub(crate) fn is_to_be_hoisted(&self) -> bool {
        !self.attributes.hoisted.is_empty()
    }

    /// The function as the user wrote it; a second `#[idempotent]` is gone, so that the fault is
    /// reported once.
    pub(crate) fn without_the_attribute(&self) -> TokenStream {
        let Self { attributes, vis, sig, body } = self;
        let mut tokens = attributes.as_written();
        vis.to_tokens(&mut tokens);
        sig.to_tokens(&mut tokens);
        body.to_tokens(&mut tokens);
        tokens
    }
}

impl Parse for Handler {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        let body: TokenTree = input.parse()?;
        match braced(&body) {
            Some(body) => Ok(Self { attributes: Attributes::sort(attributes), vis, sig, body }),
            None => Err(say::no_body(&sig, &body)),
        }
    }
}

/// The block itself; a `$body:block` of `macro_rules!` comes inside an invisible group.
fn braced(body: &TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = body else { return None };
    match group.delimiter() {
        Delimiter::Brace => Some(group.clone()),
        Delimiter::None => braced(&group.stream().into_iter().next()?),
        _ => None,
    }
}

fn same(one: &Type, other: &Type) -> bool {
    one.to_token_stream().to_string() == other.to_token_stream().to_string()
}

/// The path of a type; a `$ty:ty` of `macro_rules!` comes inside an invisible group.
pub(crate) fn type_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(path) => Some(&path.path),
        Type::Group(group) => type_path(&group.elem),
        _ => None,
    }
}

/// `App` in `State<App>`.
fn state_of(ty: &Type) -> Option<&Type> {
    let last = type_path(ty)?.segments.last().filter(|last| last.ident == "State")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        syn::GenericArgument::Type(state) if arguments.args.len() == 1 => Some(state),
        _ => None,
    }
}

/// The one name that a pattern binds: `app` of `State(app)`.
pub(crate) fn only_binding(pattern: &Pat) -> Option<syn::Ident> {
    let mut names = Vec::new();
    scope::bindings(pattern, &mut |ident| names.push(ident.clone()));
    match names.as_slice() {
        [name] => Some(name.clone()),
        _ => None,
    }
}
