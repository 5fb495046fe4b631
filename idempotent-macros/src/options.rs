//! Parses the options between the parentheses of the attribute.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Expr, ExprLit, Ident, Lit, LitBool, LitStr, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    token::Paren,
};

use crate::{
    errors::Errors,
    messages as say,
    table::{FINGERPRINT, KEY, Name, REPLAY, TAKEOVER, Word, example, find},
    time::Time,
};

/// The options that the user wrote. The defaults are in the runtime.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ttl: Option<Time>,
    pub(crate) lease: Option<Time>,
    pub(crate) wait: Option<Time>,
    pub(crate) required: Option<LitBool>,
    pub(crate) scope: Option<Expr>,
    pub(crate) replay: Option<Ident>,
    pub(crate) takeover: Option<Ident>,
    pub(crate) key: Option<WordOrValue>,
    pub(crate) header: Option<LitStr>,
    pub(crate) fingerprint: Option<WordOrValue>,
    pub(crate) operation: Option<LitStr>,
    pub(crate) store: Option<Store>,
    pub(crate) krate: Option<Path>,
}

/// A word in quotes, or an expression over the handler's arguments.
pub(crate) enum WordOrValue {
    /// The variant of the runtime's enum.
    Word(Ident),
    Value(Expr),
}

impl WordOrValue {
    fn value(given: Option<&Self>) -> Option<&Expr> {
        match given {
            Some(Self::Value(expression)) => Some(expression),
            _ => None,
        }
    }
}

/// Where the `Idempotency` comes from, if not from the router's state.
pub(crate) enum Store {
    Extension,
    Value(Expr),
}

impl Options {
    /// Reads all options. After an error, it goes on with the next option.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut seen: Vec<Name> = Vec::new();
        let read_all = |input: ParseStream<'_>| {
            while !input.is_empty() {
                let read = options.parse_one(input, &mut seen).and_then(|()| end_of_option(input));
                if let Err(error) = read {
                    errors.push(error);
                    skip_to_comma(input);
                }
                input.parse::<Option<Token![,]>>()?;
            }
            Ok(())
        };
        if let Err(error) = read_all.parse2(tokens) {
            errors.push(error);
        }
        options
    }

    /// The expressions that are evaluated for each request: the option's name, the expression, and the words that the
    /// option takes instead.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = (&'static str, &Expr, &'static [Word])> {
        let key: (_, _, &[Word]) = ("key", WordOrValue::value(self.key.as_ref()), &KEY);
        let fingerprint: (_, _, &[Word]) = ("fingerprint", WordOrValue::value(self.fingerprint.as_ref()), &FINGERPRINT);
        let all = [("scope", self.scope.as_ref(), &[] as &[Word]), key, fingerprint];
        all.into_iter().filter_map(|(option, expression, words)| Some((option, expression?, words)))
    }

    /// Whether an option decides how the request is read. The last argument is then extracted later, when the runtime
    /// knows the handler's policy.
    pub(crate) fn defers_reading(&self) -> bool {
        self.header.is_some()
            || self.key.is_some()
            || self.fingerprint.is_some()
            || self.required.as_ref().is_some_and(|required| !required.value)
            || matches!(self.store, Some(Store::Value(_)))
    }

    fn parse_one(&mut self, input: ParseStream<'_>, seen: &mut Vec<Name>) -> syn::Result<()> {
        if input.peek(Lit) {
            return Err(say::value_without_name(&input.parse()?));
        }
        if !input.peek(Ident::peek_any) {
            return Err(say::expected_option(input.span()));
        }
        let name = input.call(Ident::parse_any)?;
        let Some((option, known)) = find(&name.to_string()) else {
            return Err(say::unknown_option(&name));
        };
        let example = example(known);
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
        if seen.contains(&option) {
            return Err(say::repeated_option(&name));
        }
        seen.push(option);
        self.set(option, known, ungrouped(value))
    }

    fn set(&mut self, option: Name, written: &'static str, value: Expr) -> syn::Result<()> {
        match option {
            Name::Ttl => self.ttl = Some(Time::parse(written, value)?),
            Name::Lease => self.lease = Some(Time::parse(written, value)?),
            Name::Wait => self.wait = Some(Time::parse(written, value)?),
            Name::Required => self.required = Some(boolean(written, value)?),
            Name::Scope => self.scope = Some(value),
            Name::Replay => self.replay = Some(word(written, &REPLAY, &value)?),
            Name::Takeover => self.takeover = Some(word(written, &TAKEOVER, &value)?),
            Name::Key => self.key = Some(word_or_value(written, &KEY, value)?),
            Name::Header => self.header = Some(header(value)?),
            Name::Fingerprint => self.fingerprint = Some(word_or_value(written, &FINGERPRINT, value)?),
            Name::Operation => self.operation = Some(operation(value)?),
            Name::Store => self.store = Some(store(value)?),
            Name::Crate => self.krate = Some(path(value)?),
        }
        Ok(())
    }
}

/// Removes the invisible group that `macro_rules!` puts around a `$value:literal`.
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
        // The input is not empty, so a token tree can be read.
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
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => known_word(name, words, text),
        // `replay = success`: a word without its quotes.
        Expr::Path(path) => Err(path.path.segments.last().map_or_else(
            || say::not_a_word(name, words, value),
            |last| say::unquoted_word(name, words, value, &last.ident.to_string()),
        )),
        _ => Err(say::not_a_word(name, words, value)),
    }
}

fn word_or_value(name: &str, words: &[Word], value: Expr) -> syn::Result<WordOrValue> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => known_word(name, words, &text).map(WordOrValue::Word),
        value => Ok(WordOrValue::Value(value)),
    }
}

fn known_word(name: &str, words: &[Word], text: &LitStr) -> syn::Result<Ident> {
    let written = text.value();
    match words.iter().find(|(word, _)| *word == written) {
        Some((_, variant)) => Ok(Ident::new(variant, Span::call_site())),
        None => Err(say::unknown_word(name, words, text)),
    }
}

/// The name of a header, in lower case. It must be a token of RFC 9110, section 5.6.2.
fn header(value: Expr) -> syn::Result<LitStr> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else {
        return Err(say::not_a_header(&value));
    };
    let name = text.value();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(say::not_a_header_name(&text));
    }
    Ok(LitStr::new(&name.to_ascii_lowercase(), text.span()))
}

/// The name of an operation. It is not a path, so that the two are never taken for each other.
fn operation(value: Expr) -> syn::Result<LitStr> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = value else {
        return Err(say::not_an_operation(&value));
    };
    let name = text.value();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) { Err(say::not_an_operation(&text)) } else { Ok(text) }
}

fn store(value: Expr) -> syn::Result<Store> {
    match value {
        Expr::Path(path) if path.path.is_ident("extension") => Ok(Store::Extension),
        Expr::Lit(literal) => Err(say::store_in_quotes(&literal)),
        value => Ok(Store::Value(value)),
    }
}
