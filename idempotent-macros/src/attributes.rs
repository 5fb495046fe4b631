//! Where each attribute that stands below ours belongs: on the wrapper, on the user's function, or
//! above ours again.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{
    Attribute, Meta, Path, Token,
    parse::{Parse as _, ParseStream},
    parse_quote_spanned,
    spanned::Spanned as _,
};

/// What describes the handler to the outside, or sets lints. A lint level on the wrapper reaches
/// the function inside, and an `expect` must not stand twice.
const OUTWARD: [&str; 9] = ["doc", "cfg", "deprecated", "must_use", "allow", "expect", "warn", "deny", "forbid"];

/// The attributes of one handler, each where it takes effect as if ours were not there.
#[derive(Default)]
pub(crate) struct Attributes {
    written: Vec<Attribute>,
    /// A second `#[idempotent]`.
    pub(crate) again: Option<Path>,
    /// Macros that read the signature to describe it (`utoipa::path`): they must see the user's,
    /// so they go above ours and run first.
    pub(crate) hoisted: Vec<Attribute>,
    /// Checks what the router gets, which is the wrapper.
    pub(crate) debug_handler: Option<DebugHandler>,
    pub(crate) wrapper: Vec<Attribute>,
    /// All others, macros among them (`tracing::instrument`): they see the function that they
    /// would see above ours.
    pub(crate) function: Vec<Attribute>,
}

/// `#[debug_handler]`, perhaps inside a `cfg_attr`.
pub(crate) struct DebugHandler {
    pub(crate) condition: Option<TokenStream>,
    pub(crate) path: Path,
    /// What the user wrote between its parentheses.
    pub(crate) arguments: TokenStream,
    /// `App` of `state = App`.
    pub(crate) state: Option<TokenStream>,
}

impl Attributes {
    pub(crate) fn sort(written: Vec<Attribute>) -> Self {
        let mut sorted = Self::default();
        for attribute in written.iter().flat_map(split_cfg_attr) {
            sorted.place(attribute);
        }
        sorted.written = written;
        sorted
    }

    /// All of them as they came, but for a second one of ours.
    pub(crate) fn as_written(&self) -> TokenStream {
        self.written.iter().filter(|it| !is_ours(it.path())).map(quote::ToTokens::to_token_stream).collect()
    }

    /// All of them as they came, but for those that go above ours.
    pub(crate) fn without_hoisted(&self) -> impl Iterator<Item = Attribute> {
        self.written.iter().flat_map(split_cfg_attr).filter(|it| !describes_signature(conditional(it).1.path()))
    }

    fn place(&mut self, attribute: Attribute) {
        let (condition, meta) = conditional(&attribute);
        let path = meta.path().clone();
        if is_ours(&path) {
            self.again.get_or_insert(path);
        } else if describes_signature(&path) {
            self.hoisted.push(attribute);
        } else if ends_in(&path, "debug_handler") {
            let arguments = meta.require_list().map(|list| list.tokens.clone()).unwrap_or_default();
            let mut tokens = arguments.clone().into_iter().skip_while(|it| it.to_string() != "=");
            let state = tokens.next().map(|_equals| tokens.collect());
            self.debug_handler = Some(DebugHandler { condition, path, arguments, state });
        } else if OUTWARD.iter().any(|name| path.is_ident(name)) {
            self.wrapper.push(attribute);
        } else {
            self.function.push(attribute);
        }
    }
}

fn ends_in(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

fn is_ours(path: &Path) -> bool {
    ends_in(path, "idempotent")
}

/// `utoipa::path`; a bare `path` is the compiler's own attribute for modules.
fn describes_signature(path: &Path) -> bool {
    path.segments.len() > 1 && ends_in(path, "path")
}

/// `cfg_attr(unix, a, b)` → `cfg_attr(unix, a)` and `cfg_attr(unix, b)`, which may part ways.
fn split_cfg_attr(attribute: &Attribute) -> Vec<Attribute> {
    let split = |input: ParseStream<'_>| {
        let condition: Meta = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        let inner = input.parse_terminated(Meta::parse, Token![,])?;
        Ok((condition, inner))
    };
    if !attribute.path().is_ident("cfg_attr") {
        return vec![attribute.clone()];
    }
    let Ok((condition, inner)) = attribute.parse_args_with(split) else {
        return vec![attribute.clone()];
    };
    let span = attribute.span();
    inner.iter().map(|meta| parse_quote_spanned! {span=> #[cfg_attr(#condition, #meta)] }).collect()
}

/// `(unix, a)` of the `cfg_attr(unix, a)` that `split_cfg_attr` has made.
fn conditional(attribute: &Attribute) -> (Option<TokenStream>, Meta) {
    let read = |input: ParseStream<'_>| {
        let condition: Meta = input.parse()?;
        input.parse::<Token![,]>()?;
        Ok((Some(condition.to_token_stream()), input.parse()?))
    };
    if attribute.path().is_ident("cfg_attr")
        && let Ok(found) = attribute.parse_args_with(read)
    {
        return found;
    }
    (None, attribute.meta.clone())
}
