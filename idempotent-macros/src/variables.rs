//! Finds the variables that code names, and those that an argument's pattern binds.
//!
//! Names are compared without `r#`, because `{type}` in a format string means the variable `r#type`.

use std::collections::BTreeSet;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Expr, Ident, Pat, ext::IdentExt as _};

/// The variables that code may name. They are found by its tokens, also inside macros.
///
/// The set may contain a name that is no variable, but no variable is missing. A name too many does no harm: an argument
/// of that name is borrowed although the expression does not use it.
pub(crate) fn names(code: impl ToTokens) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(code.into_token_stream(), false, &mut names);
    names
}

/// The variables that any of these expressions may name.
pub(crate) fn wanted<'a>(expressions: impl Iterator<Item = &'a Expr>) -> BTreeSet<String> {
    expressions.flat_map(names).collect()
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
                // In `user.id`, `id` is a field. In `0..id`, it is a variable.
                let field = before(1).is_some_and(|it| is(it, '.')) && !before(2).is_some_and(|it| is(it, '.'));
                let in_path = before(1).is_some_and(|it| is(it, ':')) && before(2).is_some_and(|it| joint(it, ':'));
                let path_start = matches!(tokens.get(at + 1), Some(it) if joint(it, ':'));
                let named_argument = in_macro
                    && tokens.get(at + 1).is_some_and(|it| is(it, '=') && !joint(it, '='))
                    && !before(1).is_some_and(|it| is(it, '='));
                if !(field || in_path || path_start || named_argument) {
                    names.insert(ident.unraw().to_string());
                }
            }
            _ => {}
        }
    }
}

/// Whether code has such a word, also inside of groups.
pub(crate) fn has_word(code: impl ToTokens, is: &dyn Fn(&Ident) -> bool) -> bool {
    code.into_token_stream().into_iter().any(|token| match token {
        TokenTree::Ident(word) => is(&word),
        TokenTree::Group(group) => has_word(group.stream(), is),
        _ => false,
    })
}

pub(crate) fn is(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn joint(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted && punct.spacing() == Spacing::Joint)
}

/// Adds the variables that a format string captures: `user` and `width` of `"{user:>width$}"`. Every word between braces
/// is taken for one.
fn captures(literal: &str, names: &mut BTreeSet<String>) {
    for piece in literal.split('{').skip(1) {
        let inside = piece.split('}').next().unwrap_or_default();
        let words = inside.split(|it: char| !it.is_alphanumeric() && it != '_');
        names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
}

/// The token of the variable, if the expression calls one of the methods on it, as in `claim.derive_key("x")`.
pub(crate) fn called_on(expression: impl ToTokens, variable: &str, methods: &[&str]) -> Option<Ident> {
    let tokens: Vec<TokenTree> = expression.into_token_stream().into_iter().collect();
    tokens.iter().enumerate().find_map(|(at, token)| match token {
        TokenTree::Group(group) => called_on(group.stream(), variable, methods),
        TokenTree::Ident(ident) if ident.unraw() == variable => match tokens.get(at + 1..at + 4)? {
            [dot, TokenTree::Ident(method), TokenTree::Group(_)]
                if is(dot, '.') && methods.iter().any(|it| method == it) =>
            {
                Some(ident.clone())
            }
            _ => None,
        },
        _ => None,
    })
}

/// Whether an `async fn` calls itself. It must box such a call, with `Box::pin` or `.boxed()`. A call that is not boxed
/// calls another function of the same name.
pub(crate) fn calls_itself(body: TokenStream, name: &Ident) -> bool {
    boxes_call(body, name, false)
}

fn boxes_call(tokens: TokenStream, name: &Ident, boxed: bool) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        match token {
            TokenTree::Group(group) => {
                let pinned = matches!(before, Some(TokenTree::Ident(function)) if function == "pin");
                boxes_call(group.stream(), name, boxed || pinned)
            }
            TokenTree::Ident(ident) if ident == name && !before.is_some_and(|it| is(it, '.') || is(it, ':')) => {
                let boxed_behind =
                    tokens.iter().skip(at).take_while(|it| !is(it, ';')).any(
                        |it| matches!(it, TokenTree::Ident(method) if method == "boxed" || method == "boxed_local"),
                    );
                boxed || boxed_behind
            }
            _ => false,
        }
    })
}

/// Calls `found` for every name that a pattern binds.
pub(crate) fn bindings(pattern: &Pat, found: &mut dyn FnMut(&Ident)) {
    if let Pat::Ident(it) = pattern
        // A single name in upper case is a unit struct or a constant, and binds nothing.
        && (it.subpat.is_some() || !it.ident.to_string().starts_with(char::is_uppercase))
    {
        found(&it.ident);
    }
    for part in parts(pattern) {
        bindings(part, found);
    }
}

/// The patterns directly inside a pattern. Of alternatives, which bind the same names, the first.
fn parts(pattern: &Pat) -> Vec<&Pat> {
    match pattern {
        Pat::Ident(it) => it.subpat.iter().map(|(_, part)| &**part).collect(),
        Pat::TupleStruct(it) => it.elems.iter().collect(),
        Pat::Tuple(it) => it.elems.iter().collect(),
        Pat::Slice(it) => it.elems.iter().collect(),
        Pat::Struct(it) => it.fields.iter().map(|field| &*field.pat).collect(),
        Pat::Paren(it) => vec![&it.pat],
        Pat::Reference(it) => vec![&it.pat],
        Pat::Or(it) => it.cases.iter().take(1).collect(),
        _ => Vec::new(),
    }
}

/// The names that a pattern binds.
pub(crate) fn bound(pattern: &Pat) -> Vec<String> {
    let mut names = Vec::new();
    bindings(pattern, &mut |ident| names.push(ident.unraw().to_string()));
    names
}

/// The names that a pattern binds after a `&`, such as `id` of `&id`. [`borrowed`] removes the `&`, so there such a name is
/// a reference to a reference.
pub(crate) fn behind_references(pattern: &Pat) -> Vec<Ident> {
    match pattern {
        Pat::Reference(it) => match &*it.pat {
            Pat::Ident(inner) if inner.subpat.is_none() => vec![inner.ident.clone()],
            other => behind_references(other),
        },
        other => parts(other).into_iter().flat_map(behind_references).collect(),
    }
}

/// The pattern for a reference to the argument: `Json(Payment { mut id, ref note })` → `Json(Payment { id, note })`.
///
/// `mut`, `ref` and `&` are removed. Edition 2024 refuses them in a pattern for a reference. The expressions do not need
/// them, because they only read.
pub(crate) fn borrowed(pattern: &Pat) -> Pat {
    let mut pattern = pattern.clone();
    strip(&mut pattern);
    pattern
}

fn strip(pattern: &mut Pat) {
    if let Pat::Reference(it) = pattern {
        *pattern = (*it.pat).clone();
        return strip(pattern);
    }
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
    fn a_format_names_widths_and_raw_identifiers() {
        assert_eq!(named(&parse_quote! { format!("{id:>width$.precision$}") }), ["format", "id", "precision", "width"]);
        assert!(named(&parse_quote! { format!("{type}") }).contains(&"type".to_owned()));
        assert_eq!(bound(&parse_quote! { Path(r#type) }), ["type"]);
    }

    #[test]
    fn a_call_of_itself_is_boxed_and_that_of_another_function_is_not() {
        let name = quote::format_ident!("create");
        let own = |body: TokenStream| calls_itself(body, &name);
        assert!(own(quote::quote! { Box::pin(create(Path(0))).await }));
        assert!(own(quote::quote! { create(Path(0)).boxed().await }));
        assert!(!own(quote::quote! { create(&pool, new).await }));
        assert!(!own(quote::quote! { app.create(new).boxed().await }));
        assert!(!own(quote::quote! { db::create(new).boxed().await }));
    }

    #[test]
    fn a_method_of_a_variable_is_found_inside_macros() {
        let found = |expression: Expr| called_on(&expression, "claim", &["key"]).is_some();
        assert!(found(parse_quote! { format!("{}", claim.key().unwrap()) }));
        assert!(!found(parse_quote! { claim.sub }));
        assert!(!found(parse_quote! { other.key() }));
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
