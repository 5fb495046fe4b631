//! Finds headers quickly, by their names. Pure.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The lines of a header. A message has few headers: to compare all their names takes less than to hash the one that is
/// looked for, as the map does.
pub(crate) fn lines_of<'h, 'n>(
    headers: &'h HeaderMap,
    name: &'n HeaderName,
) -> impl Iterator<Item = &'h HeaderValue> + use<'h, 'n> {
    headers.iter().filter(move |(found, _)| *found == name).map(|(_, line)| line)
}

/// A set of names. Each header of each request is looked up in it. They are ordered by their length, each with its first
/// two letters.
pub(crate) struct HeaderNames(Vec<Vec<(u16, &'static str)>>);

impl HeaderNames {
    pub(crate) fn new(lists: &[&[&'static str]]) -> Self {
        let mut by_length = Vec::new();
        for name in lists.iter().copied().flatten().copied() {
            if by_length.len() <= name.len() {
                by_length.resize(name.len() + 1, Vec::new());
            }
            if let Some(names) = by_length.get_mut(name.len()) {
                names.push((start(name), name));
            }
        }
        Self(by_length)
    }

    /// Whether the set has this name, which is in lower case.
    pub(crate) fn contains(&self, name: &str) -> bool {
        // Names of one length mostly differ in their first letters, so few are compared as a whole.
        let start = start(name);
        self.0.get(name.len()).is_some_and(|names| names.iter().any(|&(begin, known)| begin == start && known == name))
    }
}

/// The first two letters as a number.
fn start(name: &str) -> u16 {
    name.as_bytes().first_chunk().map_or(0, |letters| u16::from_ne_bytes(*letters))
}
