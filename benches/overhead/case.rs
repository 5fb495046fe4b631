//! The cases to compare. A variant, a phase and a store together give one number.

use std::str::FromStr;

/// What protects the handler.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Variant {
    /// Nothing.
    Bare,
    /// Code in the handler. A replay does not read the JSON.
    ByHand,
    /// Code in the handler, after its extractor has read the JSON. The attribute promises that for a replay too.
    ByHandExtracted,
    /// `#[idempotent]`.
    Attribute,
}

/// What happened with the request's key before.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    First,
    Replay,
}

/// Where the claims are stored.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Backend {
    Memory,
    Redis,
}

#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) variant: Variant,
    pub(crate) phase: Phase,
    pub(crate) backend: Backend,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::ByHand, Self::ByHandExtracted, Self::Attribute];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::ByHand => "by-hand",
            Self::ByHandExtracted => "by-hand-extracted",
            Self::Attribute => "ours",
        }
    }
}

impl Phase {
    pub(crate) const ALL: [Self; 2] = [Self::First, Self::Replay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Replay => "replay",
        }
    }
}

impl Backend {
    pub(crate) const ALL: [Self; 2] = [Self::Memory, Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == word).ok_or_else(|| format!("no variant is called {word}"))
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == word).ok_or_else(|| format!("no phase is called {word}"))
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.name() == word).ok_or_else(|| format!("no store is called {word}"))
    }
}
