//! One page of HTML, without a script.

/// Escapes a value for text, and for attributes in double quotes.
pub(super) fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page. `base` is where the router is mounted; with it, the page has the style and a link back to the form.
pub(super) fn page(base: Option<&str>, title: &str, main: &str) -> String {
    let (base, back) = match base {
        Some(base) => (text(base), true),
        None => (String::new(), false),
    };
    // A nested router is not reached by a path that ends in a slash.
    let home = if base.is_empty() { "/" } else { &base };
    // A refused request may come from another site, so its page has no link and no style.
    let style = if back { format!("<link rel=\"stylesheet\" href=\"{base}/style.css\">") } else { String::new() };
    let back = if back { format!("<p><a href=\"{home}\">Look up another key</a></p>") } else { String::new() };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title>{style}</head><body><main><h1>{title}</h1>{main}{back}</main>\
         </body></html>"
    )
}
