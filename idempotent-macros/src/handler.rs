//! The function below the attribute.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    Attribute, FnArg, Pat, PatType, Path, ReturnType, Signature, Type, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

use crate::{attributes::Attributes, faults::Faults, messages as say, variables};

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
        self.arguments().flat_map(|argument| variables::bound(&argument.pat)).collect()
    }

    /// Whether two names look the same, and only `macro_rules!` knows them apart: nobody can tell which one is used.
    pub(crate) fn is_ambiguous(&self, name: &str) -> bool {
        self.bindings().iter().filter(|bound| *bound == name).count() > 1
    }

    /// The name as spans and logs show it.
    pub(crate) fn name(&self) -> String {
        self.sig.ident.unraw().to_string()
    }

    /// Whether `Self` stands in it, so that it is certainly an associated function.
    pub(crate) fn names_self(&self) -> bool {
        names_self(&self.sig, &self.body)
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

    /// The function as the user wrote it. A second `#[idempotent]`, `const` and `...` are gone, of which the compiler would
    /// complain as well.
    pub(crate) fn without_the_attribute(&self) -> TokenStream {
        let Self { attributes, vis, sig, body } = self;
        let sig = Signature { constness: None, variadic: None, ..sig.clone() };
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
            Some(body) => {
                let attributes = Attributes::sort(attributes, names_self(&sig, &body));
                Ok(Self { attributes, vis, sig, body })
            }
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

/// The path of a type; a `$ty:ty` of `macro_rules!` comes inside an invisible group.
pub(crate) fn type_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(path) => Some(&path.path),
        Type::Group(group) => type_path(&group.elem),
        _ => None,
    }
}

fn names_self(sig: &Signature, body: &Group) -> bool {
    has_self(sig.to_token_stream()) || mentions_self(body.stream())
}

fn has_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => has_self(group.stream()),
        _ => false,
    })
}

/// `Self`, outside of items that may have one of their own.
fn mentions_self(tokens: TokenStream) -> bool {
    const OPENS_ITEM: [&str; 5] = ["impl", "trait", "struct", "enum", "union"];
    let mut in_item = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) if OPENS_ITEM.iter().any(|it| ident == it) => {
            in_item = true;
            false
        }
        TokenTree::Ident(ident) => ident == "Self" && !in_item,
        TokenTree::Group(group) => !std::mem::take(&mut in_item) && mentions_self(group.stream()),
        TokenTree::Punct(punct) => {
            in_item &= punct.as_char() != ';';
            false
        }
        TokenTree::Literal(_) => false,
    })
}

/// The one name that a pattern binds: `app` of `State(app)`.
pub(crate) fn only_binding(pattern: &Pat) -> Option<syn::Ident> {
    let mut names = Vec::new();
    variables::bindings(pattern, &mut |ident| names.push(ident.clone()));
    match names.as_slice() {
        [name] => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn self_is_found_but_not_that_of_an_item_inside() {
        assert!(mentions_self(quote! { let x = vec![Self::NAME]; }));
        assert!(!mentions_self(quote! { struct A; impl A { fn new() -> B { Self } } }));
        assert!(mentions_self(quote! { struct A; impl A { fn new() {} } let b = Self::check()?; }));
        assert!(has_self(quote! { async fn create(_: impl Part, _: State<Self>) }));
    }
}
