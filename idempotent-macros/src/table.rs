//! The options of the attribute, with an example of each, and the words that options take.

/// Every option, with an example that error messages show.
pub(crate) const KNOWN: [(&str, &str); 12] = [
    ("ttl", r#"ttl = "24h""#),
    ("lease", r#"lease = "30s""#),
    ("wait", r#"wait = "5s""#),
    ("required", "required = false"),
    ("scope", "scope = user.id"),
    ("replay", r#"replay = "final""#),
    ("takeover", r#"takeover = "refuse""#),
    ("key", r#"key = "uuid""#),
    ("header", r#"header = "webhook-id""#),
    ("fingerprint", "fingerprint = (order.id, &order.items)"),
    ("store", "store = extension"),
    ("crate", "crate = path::to::idempotent_runtime"),
];

/// A word that an option takes, and the variant of the runtime's enum that it means.
pub(crate) type Word = (&'static str, &'static str);

pub(crate) const REPLAY: [Word; 3] = [("success", "Success"), ("final", "Final"), ("all", "All")];
pub(crate) const TAKEOVER: [Word; 2] = [("rerun", "Rerun"), ("refuse", "Refuse")];
pub(crate) const KEY: [Word; 3] = [("any", "Any"), ("uuid", "Uuid"), ("uuidv7", "UuidV7")];
pub(crate) const FINGERPRINT: [Word; 1] = [("none", "KeyAlone")];

/// The option of this name, with its example.
pub(crate) fn find(name: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.iter().copied().find(|(known, _)| *known == name)
}

/// The example of an option.
pub(crate) fn example(option: &str) -> &'static str {
    find(option).map_or("", |(_, example)| example)
}

pub(crate) fn known_names() -> String {
    list(KNOWN.iter().map(|(name, _)| *name))
}

pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn choices(name: &str, words: &[Word]) -> String {
    words.iter().map(|(word, _)| format!("`{name} = \"{word}\"`")).collect::<Vec<_>>().join(" or ")
}

/// The candidate that is most similar to what the user wrote. `None` if none is similar enough.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&written, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}
