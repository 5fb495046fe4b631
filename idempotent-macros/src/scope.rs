//! `scope = EXPR` sees the arguments through their own patterns, borrowed.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Expr, FieldPat, Ident, Pat, Token, parse_quote, spanned::Spanned as _};

/// The variables that an expression may name, by its tokens; macros are looked into as well.
///
/// It may find one too many, never one too few: what it finds is only borrowed.
pub(crate) fn names(expression: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(expression.to_token_stream(), false, &mut names);
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

/// Whether a pattern binds one of these names.
pub(crate) fn binds_any(pattern: &Pat, names: &BTreeSet<String>) -> bool {
    let mut any = false;
    bindings(pattern, &mut |ident| any |= names.contains(&ident.to_string()));
    any
}

fn starts_upper(ident: &Ident) -> bool {
    ident.to_string().starts_with(char::is_uppercase)
}

/// The pattern as it matches a reference, binding `wanted` and nothing else:
/// `Json(Payment { mut id, note, .. })` → `Json(Payment { id, note: _, .. })`.
///
/// Without `mut` and `ref`, which are errors below a reference in edition 2024, and without names
/// that nobody would use, so that no lint has anything to say.
pub(crate) fn borrowed(pattern: &Pat, wanted: &BTreeSet<String>) -> Pat {
    let mut pattern = pattern.clone();
    reduce(&mut pattern, wanted);
    pattern
}

fn reduce(pattern: &mut Pat, wanted: &BTreeSet<String>) {
    match pattern {
        Pat::Ident(it) => {
            it.by_ref = None;
            it.mutability = None;
            if let Some((_, inner)) = &mut it.subpat {
                reduce(inner, wanted);
            }
            if !wanted.contains(&it.ident.to_string()) {
                *pattern = match it.subpat.take() {
                    Some((_, inner)) => *inner,
                    None => parse_quote! { _ },
                };
            }
        }
        Pat::TupleStruct(it) => it.elems.iter_mut().for_each(|inner| reduce(inner, wanted)),
        Pat::Tuple(it) => it.elems.iter_mut().for_each(|inner| reduce(inner, wanted)),
        Pat::Slice(it) => it.elems.iter_mut().for_each(|inner| reduce(inner, wanted)),
        Pat::Struct(it) => it.fields.iter_mut().for_each(|field| reduce_field(field, wanted)),
        Pat::Paren(it) => reduce(&mut it.pat, wanted),
        Pat::Reference(it) => reduce(&mut it.pat, wanted),
        Pat::Or(it) => it.cases.iter_mut().for_each(|inner| reduce(inner, wanted)),
        _ => {}
    }
}

fn reduce_field(field: &mut FieldPat, wanted: &BTreeSet<String>) {
    reduce(&mut field.pat, wanted);
    // `Payment { note }` → `Payment { note: _ }`
    if field.colon_token.is_none() && matches!(*field.pat, Pat::Wild(_)) {
        field.colon_token = Some(Token![:](field.member.span()));
    }
}

/// Whether `Self` stands anywhere in the tokens, outside of items that have a `Self` of their own.
pub(crate) fn find_self(tokens: TokenStream) -> Option<Ident> {
    const OPENS_ITEM: [&str; 5] = ["impl", "trait", "struct", "enum", "union"];
    let mut found = None;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if OPENS_ITEM.iter().any(|it| ident == it) => return None,
            TokenTree::Ident(ident) if ident == "Self" => found = found.or(Some(ident)),
            TokenTree::Group(group) if group.delimiter() != Delimiter::None || found.is_none() => {
                found = found.or_else(|| find_self(group.stream()));
            }
            _ => {}
        }
    }
    found
}
