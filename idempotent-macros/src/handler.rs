//! The function below the attribute.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, FnArg, GenericArgument, Pat, PatType, Path, PathArguments, ReturnType, Signature, Type, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

use crate::{attributes::Attributes, errors::Errors, messages as say, variables};

/// A handler. Its body is not parsed, so it is emitted token for token.
pub(crate) struct Handler {
    pub(crate) attributes: Attributes,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Handler {
    /// `None` if the item is not a function with a body.
    pub(crate) fn parse(item: &TokenStream, errors: &mut Errors) -> Option<Self> {
        match syn::parse2::<Self>(item.clone()) {
            Ok(handler) => Some(handler),
            Err(error) => {
                errors.push(say::not_a_function(item, &error));
                None
            }
        }
    }

    /// The arguments without `self`, which `validate` reports.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        typed(&self.sig)
    }

    /// The state that axum's `debug_handler` infers: the `App` of `State<App>`, if no argument names another one.
    pub(crate) fn inferred_state(&self) -> Option<&Type> {
        let mut states = self.arguments().filter_map(|argument| state_in(&argument.ty));
        let first = states.next()?;
        let text = |ty: &Type| ty.to_token_stream().to_string();
        states.all(|other| text(other) == text(first)).then_some(first)
    }

    /// The names that the arguments' patterns bind.
    pub(crate) fn bindings(&self) -> Vec<String> {
        self.arguments().flat_map(|argument| variables::bound(&argument.pat)).collect()
    }

    /// Whether several arguments bind this name. This is possible in `macro_rules!`, where names also differ by hygiene. It
    /// is then not known which of them an expression means.
    pub(crate) fn is_ambiguous(&self, name: &str) -> bool {
        self.bindings().iter().filter(|bound| *bound == name).count() > 1
    }

    /// The name without `r#`, for spans and logs.
    pub(crate) fn name(&self) -> String {
        self.sig.ident.unraw().to_string()
    }

    /// Whether the function names `Self`. Only an associated function can do so.
    pub(crate) fn names_self(&self) -> bool {
        names_self(&self.sig, &self.body)
    }

    /// Whether the compiler shall check here that the handler's future is `Send`: it waits for something, or it would be
    /// `Send` as its arguments are, and no generic parameter can be concerned. The check takes a millisecond.
    pub(crate) fn is_checked_for_send(&self) -> bool {
        self.is_concrete() && awaits(self.body.stream())
    }

    /// Whether no generic parameter can be in scope: the function has none, and it is in no `impl` that may have one. An
    /// attribute cannot see an `impl` around its function. But what begins in the first column is in nothing.
    fn is_concrete(&self) -> bool {
        self.sig.generics.params.is_empty() && self.is_in_first_column()
    }

    /// Whether the function may be one of a trait's `impl`. Such a function has no visibility.
    pub(crate) fn may_be_of_a_trait(&self) -> bool {
        matches!(self.vis, Visibility::Inherited) && !self.is_in_first_column()
    }

    /// Outside of the compiler, in the tests of the expansion, each function counts as one in the first column.
    fn is_in_first_column(&self) -> bool {
        let first = match &self.vis {
            Visibility::Inherited => self.sig.asyncness.span(),
            vis => vis.span(),
        };
        !proc_macro::is_available() || first.unwrap().column() == 1
    }

    /// Whether another macro has parsed the function and printed it again: an attribute above this one. The braces of such a
    /// function have one span, which is that of the whole body.
    pub(crate) fn is_printed_again(&self) -> bool {
        if !proc_macro::is_available() {
            return false;
        }
        let [brace, body] = [self.body.span_open(), self.body.span()].map(|span| span.unwrap().end());
        (brace.line(), brace.column()) == (body.line(), body.column())
    }

    /// The place of the response's type. Errors about the response are shown there.
    pub(crate) fn response_place(&self) -> Span {
        match &self.sig.output {
            ReturnType::Default => self.sig.paren_token.span.close(),
            ReturnType::Type(_, ty) => ty.span(),
        }
    }

    /// Whether attributes must be moved above `#[idempotent]`.
    pub(crate) fn has_hoisted(&self) -> bool {
        !self.attributes.hoisted.is_empty()
    }

    /// The function as the user wrote it, without a second `#[idempotent]`, `const` and `...`. The compiler would report
    /// these as well.
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

/// The block of the body. `macro_rules!` puts an invisible group around a `$body:block`.
fn braced(body: &TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = body else { return None };
    match group.delimiter() {
        Delimiter::Brace => Some(group.clone()),
        Delimiter::None => braced(&group.stream().into_iter().next()?),
        _ => None,
    }
}

/// The arguments of a function without `self`.
pub(crate) fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    })
}

/// The path of a type. `macro_rules!` puts an invisible group around a `$ty:ty`.
pub(crate) fn type_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(path) => Some(&path.path),
        Type::Group(group) => type_path(&group.elem),
        _ => None,
    }
}

/// `App` of `State<App>`.
fn state_in(ty: &Type) -> Option<&Type> {
    let last = type_path(ty)?.segments.last().filter(|last| last.ident == "State")?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) if arguments.args.len() == 1 => match arguments.args.first()? {
            GenericArgument::Type(state) => Some(state),
            _ => None,
        },
        _ => None,
    }
}

fn names_self(sig: &Signature, body: &Group) -> bool {
    has_self(sig) || mentions_self(body.stream())
}

fn has_self(code: impl ToTokens) -> bool {
    variables::has_word(code, &|word| word == "Self")
}

/// Whether the body names the `Self` of the function. In an item inside the body, `Self` is another type.
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

/// Whether code has an `.await`, or a macro that may contain one.
fn awaits(code: TokenStream) -> bool {
    const WAIT: [&str; 4] = ["await", "join", "try_join", "select"];
    variables::has_word(code, &|word| WAIT.iter().any(|it| word == it))
}

/// The name that a pattern binds, such as `app` of `State(app)`. `None` if it binds none or several.
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
