//! The words that people type for an option, and those that they may have meant.

use crate::options::KNOWN;

/// What one may type for an option.
pub(crate) fn example(option: &str) -> &'static str {
    KNOWN.iter().find(|(known, _)| *known == option).map_or("", |(_, example)| example)
}

pub(crate) fn known_names() -> String {
    list(KNOWN.iter().map(|(name, _)| *name))
}

pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn choices(name: &str, words: &[(&'static str, &'static str)]) -> String {
    words.iter().map(|(word, _)| format!("`{name} = \"{word}\"`")).collect::<Vec<_>>().join(" or ")
}

/// The candidate that a person most likely meant, if any is near.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}
