//! `scope = EXPR` sees the arguments through their own patterns, borrowed.

use std::collections::BTreeSet;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Expr, Ident, Pat};

/// The variables that an expression may name, by its tokens; macros are looked into as well.
///
/// It may find one too many, never one too few: what it finds is only borrowed.
pub(crate) fn names(expression: &Expr) -> BTreeSet<String> {
    names_in(expression.to_token_stream())
}

/// The same for any code.
pub(crate) fn names_in(code: TokenStream) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(code, false, &mut names);
    names
}

fn collect(tokens: TokenStream, in_macro: bool, names: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at));
        match token {
            TokenTree::Group(group) => {
                let of_macro = in_macro || before(1).is_some_and(|it| is(it, '!'));
                collect(group.stream(), of_macro, names);
            }
            TokenTree::Literal(literal) if in_macro => captures(&literal.to_string(), names),
            TokenTree::Ident(ident) => {
                // `user.id` names no `id`; but the `id` of `0..id` is one.
                let field = before(1).is_some_and(|it| is(it, '.')) && !before(2).is_some_and(|it| is(it, '.'));
                let in_path = before(1).is_some_and(|it| is(it, ':')) && before(2).is_some_and(|it| joint(it, ':'));
                let path_start = matches!(tokens.get(at + 1), Some(it) if joint(it, ':'));
                let named_argument = in_macro
                    && tokens.get(at + 1).is_some_and(|it| is(it, '=') && !joint(it, '='))
                    && !before(1).is_some_and(|it| is(it, '='));
                if !(field || in_path || path_start || named_argument) {
                    names.insert(ident.to_string());
                }
            }
            _ => {}
        }
    }
}

fn is(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn joint(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted && punct.spacing() == Spacing::Joint)
}

/// The `user` of `format!("{user:?}")`.
fn captures(literal: &str, names: &mut BTreeSet<String>) {
    for piece in literal.split('{').skip(1) {
        let name: String = piece.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

/// Calls `found` for every name that a pattern binds.
pub(crate) fn bindings(pattern: &Pat, found: &mut dyn FnMut(&Ident)) {
    match pattern {
        Pat::Ident(it) => {
            // A bare upper-case name is a unit struct or a constant, and binds nothing.
            if it.subpat.is_some() || !starts_upper(&it.ident) {
                found(&it.ident);
            }
            if let Some((_, inner)) = &it.subpat {
                bindings(inner, found);
            }
        }
        Pat::TupleStruct(it) => it.elems.iter().for_each(|inner| bindings(inner, found)),
        Pat::Tuple(it) => it.elems.iter().for_each(|inner| bindings(inner, found)),
        Pat::Slice(it) => it.elems.iter().for_each(|inner| bindings(inner, found)),
        Pat::Struct(it) => it.fields.iter().for_each(|field| bindings(&field.pat, found)),
        Pat::Paren(it) => bindings(&it.pat, found),
        Pat::Reference(it) => bindings(&it.pat, found),
        Pat::Or(it) => it.cases.iter().take(1).for_each(|inner| bindings(inner, found)),
        _ => {}
    }
}

/// The names that a pattern binds.
pub(crate) fn bound(pattern: &Pat) -> Vec<String> {
    let mut names = Vec::new();
    bindings(pattern, &mut |ident| names.push(ident.to_string()));
    names
}

fn starts_upper(ident: &Ident) -> bool {
    ident.to_string().starts_with(char::is_uppercase)
}

/// The pattern as it matches a reference: `Json(Payment { mut id, ref note })` → `Json(Payment { id, note })`.
///
/// `mut` and `ref` are errors below a reference in edition 2024, and there is nothing to change or to take here.
pub(crate) fn borrowed(pattern: &Pat) -> Pat {
    let mut pattern = pattern.clone();
    strip(&mut pattern);
    pattern
}

fn strip(pattern: &mut Pat) {
    match pattern {
        Pat::Ident(it) => {
            it.by_ref = None;
            it.mutability = None;
            if let Some((_, inner)) = &mut it.subpat {
                strip(inner);
            }
        }
        Pat::TupleStruct(it) => it.elems.iter_mut().for_each(strip),
        Pat::Tuple(it) => it.elems.iter_mut().for_each(strip),
        Pat::Slice(it) => it.elems.iter_mut().for_each(strip),
        Pat::Struct(it) => it.fields.iter_mut().for_each(|field| strip(&mut field.pat)),
        Pat::Paren(it) => strip(&mut it.pat),
        Pat::Reference(it) => strip(&mut it.pat),
        Pat::Or(it) => it.cases.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use syn::{FnArg, parse_quote};

    use super::*;

    fn named(expression: &Expr) -> Vec<String> {
        names(expression).into_iter().collect()
    }

    #[test]
    fn a_field_a_method_and_a_path_are_no_variables() {
        assert_eq!(named(&parse_quote! { user.account.id }), ["user"]);
        assert_eq!(named(&parse_quote! { user.key(region) }), ["region", "user"]);
        assert_eq!(named(&parse_quote! { tenant::id(user) }), ["user"]);
        assert_eq!(named(&parse_quote! { table[0..id].len() }), ["id", "table"]);
    }

    #[test]
    fn macros_are_looked_into() {
        assert_eq!(named(&parse_quote! { format!("{}-{}", user.id, region) }), ["format", "region", "user"]);
        assert_eq!(named(&parse_quote! { format!("{user}/{region:?}") }), ["format", "region", "user"]);
        assert_eq!(named(&parse_quote! { format!("{id}", id = user.id) }), ["format", "id", "user"]);
    }

    #[test]
    fn a_string_that_is_no_format_names_nothing() {
        assert!(named(&parse_quote! { "{user}" }).is_empty());
    }

    #[test]
    fn a_pattern_matches_a_reference_without_mut_and_ref() {
        let argument: FnArg = parse_quote! { Json(Payment { mut id, ref note, tags: [first @ .., mut last] }): T };
        let FnArg::Typed(argument) = argument else { panic!("no receiver") };
        let expected: FnArg = parse_quote! { Json(Payment { id, note, tags: [first @ .., last] }): T };
        let FnArg::Typed(expected) = expected else { panic!("no receiver") };
        let text = |pattern: &Pat| pattern.to_token_stream().to_string();
        assert_eq!(text(&borrowed(&argument.pat)), text(&expected.pat));

        let mut bound = Vec::new();
        bindings(&argument.pat, &mut |ident| bound.push(ident.to_string()));
        assert_eq!(bound, ["id", "note", "first", "last"]);
    }
}
