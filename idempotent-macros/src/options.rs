//! What stands between the parentheses of the attribute.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Expr, ExprLit, Ident, Lit, LitBool, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    token::Paren,
};

use crate::{diagnostics as say, faults::Faults, time::Time};

/// Every option, beside what one may type for it.
pub(crate) const KNOWN: [(&str, &str); 9] = [
    ("ttl", r#"ttl = "24h""#),
    ("lease", r#"lease = "30s""#),
    ("wait", r#"wait = "5s""#),
    ("required", "required = false"),
    ("scope", "scope = user.id"),
    ("replay", r#"replay = "final""#),
    ("takeover", r#"takeover = "refuse""#),
    ("key", r#"key = "uuid""#),
    ("crate", "crate = path::to::idempotent_runtime"),
];

/// A word of the attribute, and the variant of the runtime's enum that it stands for.
type Word = (&'static str, &'static str);
const REPLAY: [Word; 3] = [("success", "Success"), ("final", "Final"), ("all", "All")];
const TAKEOVER: [Word; 2] = [("rerun", "Rerun"), ("refuse", "Refuse")];
const KEY: [Word; 3] = [("any", "Any"), ("uuid", "Uuid"), ("uuidv7", "UuidV7")];

/// Only what the user wrote: the defaults live in the runtime, in one place.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Time>,
    pub(crate) lease: Option<Time>,
    pub(crate) wait: Option<Time>,
    pub(crate) required: Option<LitBool>,
    pub(crate) scope: Option<Expr>,
    pub(crate) replay: Option<Ident>,
    pub(crate) takeover: Option<Ident>,
    pub(crate) key: Option<Ident>,
    pub(crate) krate: Option<Path>,
}

impl Options {
    /// Reads all options, and goes on behind a faulty one.
    pub(crate) fn parse(tokens: TokenStream, faults: &mut Faults) -> Self {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let read_all = |input: ParseStream<'_>| {
            while !input.is_empty() {
                let read = options.parse_one(input, &mut seen).and_then(|()| end_of_option(input));
                if let Err(fault) = read {
                    faults.push(fault);
                    skip_to_comma(input);
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        };
        if let Err(fault) = read_all.parse2(tokens) {
            faults.push(fault);
        }
        options
    }

    fn parse_one(&mut self, input: ParseStream<'_>, seen: &mut Vec<String>) -> syn::Result<()> {
        if input.peek(Lit) {
            return Err(say::value_without_name(&input.parse()?));
        }
        if !input.peek(Ident::peek_any) {
            return Err(say::expected_option(input.span()));
        }
        let name = input.call(Ident::parse_any)?;
        let Some((known, example)) = find(&name.to_string()) else {
            return Err(say::unknown_option(&name));
        };
        if input.peek(Paren) {
            return Err(say::parenthesised_value(&name, example));
        }
        if !input.peek(Token![=]) {
            return Err(say::option_without_value(&name, example));
        }
        let equals: Token![=] = input.parse()?;
        if input.is_empty() || input.peek(Token![,]) {
            return Err(say::half_typed(&name, equals, example));
        }
        let value: Expr = input.parse().map_err(|error| say::unreadable_value(&name, &error, example))?;
        if let (Expr::Lit(ExprLit { lit: Lit::Int(number), .. }), true) = (&value, input.peek(Ident)) {
            // `ttl = 24 h`
            let unit: Ident = input.parse()?;
            return Err(say::bare_number(known, number, &format!("{}{unit}", number.base10_digits())));
        }
        if seen.iter().any(|earlier| *earlier == known) {
            return Err(say::repeated_option(&name));
        }
        seen.push(known.to_owned());
        self.set(known, ungrouped(value))
    }

    fn set(&mut self, name: &'static str, value: Expr) -> syn::Result<()> {
        match name {
            "ttl" => self.ttl = Some(Time::parse(name, value)?),
            "lease" => self.lease = Some(Time::parse(name, value)?),
            "wait" => self.wait = Some(Time::parse(name, value)?),
            "required" => self.required = Some(boolean(name, value)?),
            "replay" => self.replay = Some(word(name, &REPLAY, &value)?),
            "takeover" => self.takeover = Some(word(name, &TAKEOVER, &value)?),
            "key" => self.key = Some(word(name, &KEY, &value)?),
            "crate" => self.krate = Some(path(value)?),
            _ => self.scope = Some(value),
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.iter().copied().find(|(known, _)| *known == name)
}

/// A `$value:literal` of `macro_rules!` comes inside an invisible group.
fn ungrouped(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => ungrouped(*group.expr),
        value => value,
    }
}

fn end_of_option(input: ParseStream<'_>) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) { Ok(()) } else { Err(say::missing_comma(input.span())) }
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        // A token tree is there and always parses.
        let _: syn::Result<TokenTree> = input.parse();
    }
}

fn boolean(name: &str, value: Expr) -> syn::Result<LitBool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(flag), .. }) => Ok(flag),
        other => Err(say::not_a_bool(name, &other)),
    }
}

fn path(value: Expr) -> syn::Result<Path> {
    match value {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path),
        other => Err(say::not_a_path(&other)),
    }
}

fn word(name: &str, words: &[Word], value: &Expr) -> syn::Result<Ident> {
    let (written, span) = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => (text.value(), text.span()),
        // `replay = success`: a word without its quotes.
        Expr::Path(path) => match path.path.segments.last() {
            Some(last) => {
                return Err(say::unquoted_word(name, words, value, &last.ident.to_string()));
            }
            None => return Err(say::not_a_word(name, words, value)),
        },
        _ => return Err(say::not_a_word(name, words, value)),
    };
    match words.iter().find(|(word, _)| *word == written) {
        Some((_, variant)) => Ok(Ident::new(variant, Span::call_site())),
        None => Err(say::unknown_word(name, words, &LitStr::new(&written, span))),
    }
}
