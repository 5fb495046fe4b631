//! Writes a table into a page, between two comments with the table's name.

use std::{fs, path::Path};

/// Puts `table` between `<!-- NAME -->` and `<!-- /NAME -->`.
pub(crate) fn write(page: &Path, name: &str, table: &str) {
    let text = fs::read_to_string(page).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{} has no {begin}", page.display()));
    let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{} has no {end}", page.display()));
    fs::write(page, format!("{head}{begin}{table}{end}{tail}")).unwrap();
}
