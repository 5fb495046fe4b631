//! Sorts the attributes below `#[idempotent]`. Each goes on the wrapper, on the user's function inside it, or above
//! `#[idempotent]`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Meta, Path, Token,
    parse::{Parse as _, ParseStream},
    parse_quote_spanned,
    punctuated::Punctuated,
    spanned::Spanned as _,
};

/// The attributes for the wrapper: its documentation, its conditions, how callers use it, and lint levels. A lint level on
/// the wrapper also applies to the function inside. It is not repeated there, because one of two `expect`s would be
/// unfulfilled.
const FOR_WRAPPER: [&str; 11] =
    ["doc", "cfg", "deprecated", "must_use", "allow", "expect", "warn", "deny", "forbid", "inline", "cold"];

/// The attributes of one handler, sorted so that each has the effect that it has without `#[idempotent]`.
#[derive(Default)]
pub(crate) struct Attributes {
    written: Vec<Attribute>,
    /// A second `#[idempotent]`, which is an error.
    pub(crate) second: Option<Path>,
    /// The `cfg` attributes. Without a match, the function is not compiled.
    pub(crate) conditions: Vec<Attribute>,
    /// Macros that are moved above `#[idempotent]`, so that they run first: see [`Place::Above`].
    pub(crate) hoisted: Vec<Attribute>,
    pub(crate) wrapper: Vec<Attribute>,
    /// All others. A macro among them sees the user's function.
    pub(crate) function: Vec<Attribute>,
    /// The `debug_handler` attributes.
    pub(crate) debug: Vec<DebugHandler>,
}

/// `#[debug_handler]`, perhaps inside a `cfg_attr`.
pub(crate) struct DebugHandler {
    pub(crate) condition: Option<TokenStream>,
    /// `App` of `debug_handler(state = App)`.
    pub(crate) state: Option<TokenStream>,
}

/// Where an attribute belongs.
#[derive(PartialEq, Eq)]
enum Place {
    /// Above `#[idempotent]`: a macro that must see the user's signature at its place in the module or impl.
    Above,
    /// On the wrapper, which the router takes.
    Wrapper,
    /// On the user's function inside the wrapper.
    Function,
}

impl Attributes {
    /// Sorts the attributes of a function. `names_self` says whether the function names `Self`. If it does, it cannot be an
    /// item inside the wrapper, so `debug_handler` is moved above.
    pub(crate) fn sort(written: Vec<Attribute>, names_self: bool) -> Self {
        let mut sorted = Self::default();
        for attribute in written.iter().flat_map(split_cfg_attr) {
            sorted.sort_in(attribute, names_self);
        }
        sorted.written = written;
        sorted
    }

    /// All attributes as the user wrote them, without a second `#[idempotent]`.
    pub(crate) fn as_written(&self) -> TokenStream {
        self.written.iter().filter(|it| !is_ours(it.path())).map(quote::ToTokens::to_token_stream).collect()
    }

    /// All attributes as the user wrote them, without those that are moved above `#[idempotent]`.
    pub(crate) fn without_hoisted(&self, names_self: bool) -> impl Iterator<Item = Attribute> {
        let stays = move |it: &Attribute| place(conditional(it).1.path(), names_self) != Place::Above;
        self.written.iter().flat_map(split_cfg_attr).filter(stays)
    }

    fn sort_in(&mut self, attribute: Attribute, names_self: bool) {
        let (condition, meta) = conditional(&attribute);
        let path = meta.path().clone();
        if is_ours(&path) {
            self.second.get_or_insert(path);
            return;
        }
        if path.is_ident("cfg") {
            self.conditions.push(attribute.clone());
        }
        match place(&path, names_self) {
            Place::Above => self.hoisted.push(attribute),
            Place::Wrapper => self.wrapper.extend(on_the_wrapper(&attribute, condition.as_ref(), &meta)),
            Place::Function => {
                if ends_in(&path, "debug_handler") {
                    self.debug.push(DebugHandler { condition, state: state_of(&meta) });
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
    } else if tool || FOR_WRAPPER.iter().any(|name| path.is_ident(name)) {
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
/// Many Clippy lints check a function's signature, and the wrapper has another one. A lint that the user expects may not be
/// reported for it, and the `expect` would be unfulfilled. So the lint is allowed instead.
///
/// A `must_use` without a message is removed. The wrapper's return type is `must_use` already, and Clippy reports a second
/// one.
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

/// `cfg_attr(unix, a, b)` → `cfg_attr(unix, a)` and `cfg_attr(unix, b)`, because `a` and `b` may go to different places.
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

/// The condition and the attribute of a `cfg_attr` that `split_cfg_attr` has made: `unix` and `a` of `cfg_attr(unix, a)`.
/// Any other attribute has no condition.
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
