//! The generics of a handler, as its wrapper needs them.

use syn::{
    GenericParam, Generics, Ident, Lifetime, Token, Type, TypeParamBound, WhereClause, WherePredicate,
    punctuated::Punctuated,
};

/// `<T: Clone>` → `<T: Clone + 'static>`: the handler runs in a task that outlives the request.
///
/// The bound goes where the others stand, which is where clippy wants it.
pub(crate) fn outliving(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    let clause = &mut generics.where_clause;
    for param in &mut generics.params {
        let GenericParam::Type(param) = param else { continue };
        let bounds = match bounds_in(clause.as_mut(), &param.ident) {
            Some(bounds) if param.bounds.is_empty() => bounds,
            _ => {
                param.colon_token.get_or_insert_default();
                &mut param.bounds
            }
        };
        if !bounds.iter().any(is_static) {
            bounds.push(TypeParamBound::Lifetime(Lifetime::new("'static", param.ident.span())));
        }
    }
    generics
}

type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// The bounds of `where T: …`.
fn bounds_in<'a>(clause: Option<&'a mut WhereClause>, param: &Ident) -> Option<&'a mut Bounds> {
    clause?.predicates.iter_mut().find_map(|predicate| match predicate {
        WherePredicate::Type(it) if matches!(&it.bounded_ty, Type::Path(path) if path.path.is_ident(param)) => {
            Some(&mut it.bounds)
        }
        _ => None,
    })
}

fn is_static(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Lifetime(lifetime) if lifetime.ident == "static")
}

/// `T` and `N` of `<'a, T: Clone, const N: usize>`: what a call names.
pub(crate) fn arguments(generics: &Generics) -> Vec<&Ident> {
    (generics.params.iter())
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect()
}
