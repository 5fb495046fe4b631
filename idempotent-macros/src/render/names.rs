//! What the wrapper calls things.

use proc_macro2::{Ident, Span};
use quote::format_ident;

use crate::{
    handler::{Handler, only_binding},
    options::Options,
    time::Time,
};

/// The wrapper's own names.
///
/// Those of parameters are seen in the documentation of the user's crate, so they are the user's
/// own where a pattern binds just one. They cannot meet names of the user's code: hygiene keeps
/// variables apart.
pub(super) struct Names {
    /// One for each argument.
    pub(super) arguments: Vec<Ident>,
    /// The wrapper's last parameter.
    pub(super) request: Ident,
    /// The static with the policy.
    pub(super) policy: Ident,
}

impl Names {
    pub(super) fn of(handler: &Handler, options: &Options) -> Self {
        let request = ours("request");
        let last = handler.arguments().count().saturating_sub(1);
        let arguments = handler.arguments().enumerate().map(|(at, argument)| {
            only_binding(&argument.pat)
                .filter(|name| at == last || *name != request)
                .filter(|name| !name.to_string().starts_with('_'))
                .map_or_else(|| format_ident!("__arg{at}", span = Span::mixed_site()), hygienic)
        });
        Self { arguments: arguments.collect(), request, policy: policy(options) }
    }
}

/// `POLICY`, unless a duration of the user is a constant of that name: statics have no hygiene.
fn policy(options: &Options) -> Ident {
    let taken = [&options.ttl, &options.lease, &options.wait]
        .into_iter()
        .any(|time| matches!(time, Some(Time::Named(path)) if path.is_ident("POLICY")));
    ours(if taken { "__POLICY" } else { "POLICY" })
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
