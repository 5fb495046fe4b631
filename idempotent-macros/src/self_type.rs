//! Where a handler names `Self`, which means nothing in a function inside a function.

use proc_macro2::{Ident, TokenStream, TokenTree};

/// A `Self` in a handler's signature.
pub(crate) fn in_signature(tokens: TokenStream) -> Option<Ident> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) if ident == "Self" => Some(ident),
        TokenTree::Group(group) => in_signature(group.stream()),
        _ => None,
    })
}

/// A `Self` in a handler's body, outside of items that may have one of their own.
pub(crate) fn in_body(tokens: TokenStream) -> Option<Ident> {
    const OPENS_ITEM: [&str; 5] = ["impl", "trait", "struct", "enum", "union"];
    let mut found = None;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if OPENS_ITEM.iter().any(|it| ident == it) => return None,
            TokenTree::Ident(ident) if ident == "Self" => found = found.or(Some(ident)),
            TokenTree::Group(group) => found = found.or_else(|| in_body(group.stream())),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn self_is_found_but_not_that_of_an_item_inside() {
        assert!(in_body(quote! { let x = vec![Self::NAME]; }).is_some());
        assert!(in_body(quote! { struct A; impl A { fn new() -> Self { Self } } }).is_none());
        assert!(in_signature(quote! { async fn create(_: impl Part, _: State<Self>) }).is_some());
    }
}
