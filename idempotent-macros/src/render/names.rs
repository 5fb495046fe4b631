//! The names of the wrapper's parameters and variables.

use proc_macro2::{Ident, Span};
use quote::format_ident;

use crate::handler::{Handler, only_binding};

/// The names of the wrapper's parameters and variables.
///
/// They begin with `__`. Macro hygiene keeps variables of the macro apart from variables of the user, but not from items: if
/// the user has a static or a unit struct of that name, a pattern would match it instead of binding the variable.
///
/// The documentation of the user's crate shows the parameters' names. So a parameter has the user's name if the argument's
/// pattern binds one name.
pub(super) struct Names {
    /// One for each argument. The last is not a parameter of the wrapper, but of the closure that the runtime calls.
    pub(super) arguments: Vec<Ident>,
    /// The wrapper's last parameter.
    pub(super) request: Ident,
    /// The user's function as a value.
    pub(super) handler: Ident,
    /// The static with the policy.
    pub(super) policy: Ident,
}

impl Names {
    pub(super) fn new(handler: &Handler) -> Self {
        let mut arguments: Vec<Ident> = Vec::new();
        for (at, argument) in handler.arguments().enumerate() {
            // A function inside the wrapper may have the handler's name, so no variable can. A name with `_` says that the
            // variable is not used, but the wrapper uses it. Two of the user's names may look the same and differ only by
            // hygiene; as variables of the macro they would be the same.
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

/// A variable of the macro with the user's name. The compiler shows errors about it where the user wrote the name.
fn hygienic(mut name: Ident) -> Ident {
    name.set_span(name.span().resolved_at(Span::mixed_site()));
    name
}
