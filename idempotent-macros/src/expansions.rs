//! Expands the handlers of the example `payments`: each is a short function, and the documentation shows one of them.

use quote::ToTokens as _;
use syn::{Attribute, File, Item, ItemFn, Meta};

const HANDLERS: &str = include_str!("../../examples/payments/handlers.rs");

/// The most lines that an expansion may have, so that it stays readable.
const PAGE: usize = 60;

/// The wrappers of a file's handlers, printed as `cargo expand` prints them. The macros inside stay as they are.
fn wrappers(file: &str) -> Vec<String> {
    let file = syn::parse_file(file).unwrap();
    file.items.into_iter().filter_map(protected).map(expanded).collect()
}

/// A handler with its attribute, and the same without it.
fn protected(item: Item) -> Option<(Attribute, ItemFn)> {
    let Item::Fn(mut handler) = item else { return None };
    let at =
        handler.attrs.iter().position(|it| it.path().segments.last().is_some_and(|it| it.ident == "idempotent"))?;
    let attribute = handler.attrs.remove(at);
    // Attributes above have run by then.
    handler.attrs.drain(..at).for_each(drop);
    Some((attribute, handler))
}

fn expanded((attribute, handler): (Attribute, ItemFn)) -> String {
    let options = match attribute.meta {
        Meta::List(list) => list.tokens,
        _ => proc_macro2::TokenStream::default(),
    };
    let expansion = crate::expand(&options, &handler.to_token_stream());
    let mut file: File = syn::parse2(expansion).unwrap();
    // Attributes that were moved above have the attribute below them once more.
    if let Some(moved) = file.items.iter().cloned().find_map(protected) {
        return expanded(moved);
    }
    file.items.retain(|item| matches!(item, Item::Fn(_)));
    prettyplease::unparse(&file)
}

#[test]
fn a_wrapper_is_a_page_at_most_and_does_not_name_axum() {
    let wrappers = wrappers(HANDLERS);
    assert_eq!(wrappers.len(), HANDLERS.matches("#[idempotent").count());
    for wrapper in wrappers {
        let lines = wrapper.lines().count();
        assert!(lines <= PAGE, "{lines} lines:\n{wrapper}");
        // The user may know axum by another name.
        assert!(!wrapper.contains("::axum::"), "{wrapper}");
    }
}

#[test]
fn the_documentation_shows_what_the_attribute_writes() {
    let shown = include_str!("../../docs/attributes.md");
    let wrappers = wrappers(HANDLERS);
    let payment = wrappers.iter().find(|wrapper| wrapper.contains("fn create_payment(")).unwrap();
    assert!(shown.contains(&format!("\n{payment}```")), "docs/attributes.md shows another expansion than:\n{payment}");
}
