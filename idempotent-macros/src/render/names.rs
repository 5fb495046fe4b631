//! What the wrapper calls things.

use proc_macro2::{Ident, Span};
use quote::format_ident;

use crate::handler::{Handler, only_binding};

/// The wrapper's own names.
///
/// Ours begin with `__`: hygiene keeps variables apart from the user's, but not from items, so that a static or a unit
/// struct of the user's that has one of our names would be in the way. Names of parameters are seen in the documentation of
/// the user's crate, so they are the user's own where a pattern binds just one.
pub(super) struct Names {
    /// One for each argument; the last is the one behind the claim.
    pub(super) arguments: Vec<Ident>,
    /// The wrapper's last parameter.
    pub(super) request: Ident,
    /// The user's function as a value.
    pub(super) handler: Ident,
    /// The static with the policy.
    pub(super) policy: Ident,
}

impl Names {
    pub(super) fn of(handler: &Handler) -> Self {
        let mut arguments: Vec<Ident> = Vec::new();
        for (at, argument) in handler.arguments().enumerate() {
            // Two of the user's names may look alike and differ by hygiene; ours would be one and the same. And a function
            // inside the wrapper would be in the way of a variable of its name.
            let free = |name: &Ident| *name != handler.sig.ident && !name.to_string().starts_with('_');
            let name = only_binding(&argument.pat).filter(free).map(hygienic);
            let name = name.filter(|name| !arguments.contains(name));
            arguments.push(name.unwrap_or_else(|| format_ident!("__arg{at}", span = Span::mixed_site())));
        }
        Self { arguments, request: ours("__request"), handler: ours("__handler"), policy: ours("__POLICY") }
    }
}

/// A variable that only the expansion can name.
pub(super) fn ours(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The user's name for a variable of ours, shown where the user wrote it.
fn hygienic(mut name: Ident) -> Ident {
    name.set_span(name.span().resolved_at(Span::mixed_site()));
    name
}
