//! The options of the attribute, with an example of each, and the words that options take.

/// An option of the attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Ttl,
    Lease,
    Wait,
    Required,
    Scope,
    Replay,
    Takeover,
    Key,
    Header,
    Fingerprint,
    Operation,
    Store,
    Crate,
}

/// Every option: how it is written, and an example that error messages show.
pub(crate) const KNOWN: [(Name, &str, &str); 13] = [
    (Name::Ttl, "ttl", r#"ttl = "24h""#),
    (Name::Lease, "lease", r#"lease = "30s""#),
    (Name::Wait, "wait", r#"wait = "5s""#),
    (Name::Required, "required", "required = false"),
    (Name::Scope, "scope", "scope = user.id"),
    (Name::Replay, "replay", r#"replay = "final""#),
    (Name::Takeover, "takeover", r#"takeover = "refuse""#),
    (Name::Key, "key", r#"key = "uuid""#),
    (Name::Header, "header", r#"header = "webhook-id""#),
    (Name::Fingerprint, "fingerprint", "fingerprint = (order.id, &order.items)"),
    (Name::Operation, "operation", r#"operation = "refunds.create""#),
    (Name::Store, "store", "store = extension"),
    (Name::Crate, "crate", "crate = path::to::idempotent_runtime"),
];

/// A word that an option takes, and the variant of the runtime's enum that it means.
pub(crate) type Word = (&'static str, &'static str);

pub(crate) const REPLAY: [Word; 3] = [("success", "Success"), ("final", "Final"), ("all", "All")];
pub(crate) const TAKEOVER: [Word; 2] = [("rerun", "Rerun"), ("refuse", "Refuse")];
pub(crate) const KEY: [Word; 4] = [("any", "Any"), ("uuid", "Uuid"), ("uuidv7", "UuidV7"), ("ulid", "Ulid")];
pub(crate) const FINGERPRINT: [Word; 1] = [("none", "KeyAlone")];

/// The option that is written like this.
pub(crate) fn find(written: &str) -> Option<(Name, &'static str)> {
    KNOWN.iter().find(|(_, known, _)| *known == written).map(|(name, known, _)| (*name, *known))
}

/// The example of an option.
pub(crate) fn example(option: &str) -> &'static str {
    KNOWN.iter().find(|(_, known, _)| *known == option).map_or("", |(_, _, example)| example)
}

pub(crate) fn known_names() -> String {
    list(KNOWN.iter().map(|(_, written, _)| *written))
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
