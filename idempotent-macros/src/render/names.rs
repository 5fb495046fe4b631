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
/// own where a pattern binds just one. Hygiene keeps variables apart from the user's, but not from
/// the function inside the wrapper, which is an item.
pub(super) struct Names {
    /// One for each argument.
    pub(super) arguments: Vec<Ident>,
    /// The wrapper's last parameter.
    pub(super) request: Ident,
    /// The user's function as a value.
    pub(super) handler: Ident,
    /// What the scope's expression says.
    pub(super) scope: Ident,
    /// The static with the policy.
    pub(super) policy: Ident,
}

impl Names {
    pub(super) fn of(handler: &Handler, options: &Options) -> Self {
        let function = &handler.sig.ident;
        let ours = |name: &str| if function == name { ours(&format!("__{name}")) } else { ours(name) };
        let (request, value, scope) = (ours("request"), ours("handler"), ours("scope"));

        let last = handler.arguments().count().saturating_sub(1);
        let free = |at: usize, name: &Ident| {
            let taken = *name == value || *name == scope || name == function || (*name == request && at != last);
            !taken && !name.to_string().starts_with('_')
        };
        let mut arguments: Vec<Ident> = Vec::new();
        for (at, argument) in handler.arguments().enumerate() {
            // Two of the user's names may look alike and differ by hygiene; ours would be one and the same.
            let name = only_binding(&argument.pat).filter(|name| free(at, name)).map(hygienic);
            let name = name.filter(|name| !arguments.contains(name));
            arguments.push(name.unwrap_or_else(|| format_ident!("__arg{at}", span = Span::mixed_site())));
        }
        Self { arguments, request, handler: value, scope, policy: policy(options) }
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
fn ours(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The user's name for a variable of ours, shown where the user wrote it.
fn hygienic(mut name: Ident) -> Ident {
    name.set_span(name.span().resolved_at(Span::mixed_site()));
    name
}
