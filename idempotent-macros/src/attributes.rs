//! Where each attribute that stands below ours belongs: on the wrapper, on the user's function, or
//! above ours again.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Meta, Path, Token,
    parse::{Parse as _, ParseStream},
    parse_quote_spanned,
    punctuated::Punctuated,
    spanned::Spanned as _,
};

/// What describes the handler to the outside, or sets lints. A lint level on the wrapper reaches the function inside, and
/// an `expect` must not stand twice.
const OUTWARD: [&str; 11] =
    ["doc", "cfg", "deprecated", "must_use", "allow", "expect", "warn", "deny", "forbid", "inline", "cold"];

/// The attributes of one handler, each where it takes effect as if ours were not there.
#[derive(Default)]
pub(crate) struct Attributes {
    written: Vec<Attribute>,
    /// A second `#[idempotent]`.
    pub(crate) again: Option<Path>,
    /// When the whole function is there.
    pub(crate) conditions: Vec<Attribute>,
    /// Macros that go above ours and run first: see [`Place::Above`].
    pub(crate) hoisted: Vec<Attribute>,
    pub(crate) wrapper: Vec<Attribute>,
    /// All others, macros among them: they see the function that they would see above ours.
    pub(crate) function: Vec<Attribute>,
    /// The states that a `debug_handler` names.
    pub(crate) states: Vec<DebugState>,
}

/// `App` of `#[debug_handler(state = App)]`, perhaps inside a `cfg_attr`.
pub(crate) struct DebugState {
    pub(crate) condition: Option<TokenStream>,
    pub(crate) state: TokenStream,
}

/// Where an attribute belongs.
#[derive(PartialEq, Eq)]
enum Place {
    /// It must see the user's signature, or a body in which `Self` has its meaning.
    Above,
    /// On what the router gets.
    Wrapper,
    /// On the user's function inside the wrapper.
    Function,
}

impl Attributes {
    /// `names_self`: whether the function names `Self`, so that it cannot stand inside another one.
    pub(crate) fn sort(written: Vec<Attribute>, names_self: bool) -> Self {
        let mut sorted = Self::default();
        for attribute in written.iter().flat_map(split_cfg_attr) {
            sorted.sort_in(attribute, names_self);
        }
        sorted.written = written;
        sorted
    }

    /// All of them as they came, but for a second one of ours.
    pub(crate) fn as_written(&self) -> TokenStream {
        self.written.iter().filter(|it| !is_ours(it.path())).map(quote::ToTokens::to_token_stream).collect()
    }

    /// All of them as they came, but for those that go above ours.
    pub(crate) fn without_hoisted(&self, names_self: bool) -> impl Iterator<Item = Attribute> {
        let stays = move |it: &Attribute| place(conditional(it).1.path(), names_self) != Place::Above;
        self.written.iter().flat_map(split_cfg_attr).filter(stays)
    }

    fn sort_in(&mut self, attribute: Attribute, names_self: bool) {
        let (condition, meta) = conditional(&attribute);
        let path = meta.path().clone();
        if is_ours(&path) {
            self.again.get_or_insert(path);
            return;
        }
        if path.is_ident("cfg") {
            self.conditions.push(attribute.clone());
        }
        match place(&path, names_self) {
            Place::Above => self.hoisted.push(attribute),
            Place::Wrapper => self.wrapper.extend(on_the_wrapper(&attribute, condition.as_ref(), &meta)),
            Place::Function => {
                if ends_in(&path, "debug_handler")
                    && let Some(state) = state_of(&meta)
                {
                    self.states.push(DebugState { condition, state });
                }
                self.function.push(attribute);
            }
        }
    }
}

fn place(path: &Path, names_self: bool) -> Place {
    let tool = path.segments.first().is_some_and(|first| first.ident == "clippy" || first.ident == "rustfmt");
    if describes_signature(path) || ends_in(path, "instrument") || (names_self && ends_in(path, "debug_handler")) {
        Place::Above
    } else if tool || OUTWARD.iter().any(|name| path.is_ident(name)) {
        Place::Wrapper
    } else {
        Place::Function
    }
}

/// `App` of `debug_handler(state = App)`.
fn state_of(meta: &Meta) -> Option<TokenStream> {
    let mut tokens = meta.require_list().ok()?.tokens.clone().into_iter().skip_while(|it| it.to_string() != "=");
    tokens.next().map(|_equals| tokens.collect())
}

/// `#[expect(a, clippy::missing_errors_doc)]` → `#[expect(a)] #[allow(clippy::missing_errors_doc)]`
///
/// Many lints of clippy speak of a function's signature, which is another one now: some that are expected would never come.
/// And what the router gets is `must_use` anyway; to say so twice is a lint of its own.
fn on_the_wrapper(attribute: &Attribute, condition: Option<&TokenStream>, meta: &Meta) -> Vec<Attribute> {
    if matches!(meta, Meta::Path(path) if path.is_ident("must_use")) {
        return Vec::new();
    }
    let Some(list) = meta.require_list().ok().filter(|list| list.path.is_ident("expect")) else {
        return vec![attribute.clone()];
    };
    let Ok(lints) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return vec![attribute.clone()];
    };
    let (reasons, lints): (Vec<_>, Vec<_>) = lints.into_iter().partition(|lint| lint.path().is_ident("reason"));
    let of_clippy = |lint: &Meta| lint.path().segments.first().is_some_and(|tool| tool.ident == "clippy");
    let (silent, expected): (Vec<_>, Vec<_>) = lints.into_iter().partition(of_clippy);
    let span = attribute.span();
    let mut attributes = Vec::new();
    for (level, lints) in [("allow", silent), ("expect", expected)] {
        if lints.is_empty() {
            continue;
        }
        let level = Ident::new(level, span);
        let lints = lints.iter().chain(&reasons);
        let meta = quote! { #level(#(#lints),*) };
        attributes.push(match condition {
            Some(condition) => parse_quote_spanned! {span=> #[cfg_attr(#condition, #meta)] },
            None => parse_quote_spanned! {span=> #[#meta] },
        });
    }
    attributes
}

fn ends_in(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

fn is_ours(path: &Path) -> bool {
    ends_in(path, "idempotent")
}

/// `utoipa::path(…)`, which describes the handler to the macros of utoipa.
pub(crate) fn is_of_utoipa(path: &Path) -> bool {
    describes_signature(path) && path.segments.iter().any(|segment| segment.ident == "utoipa")
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
pub(crate) fn conditional(attribute: &Attribute) -> (Option<TokenStream>, Meta) {
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
