//! What is compared: one of these of each kind is one number.

use std::str::FromStr;

/// Who protects the handler.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Variant {
    /// Nobody.
    Bare,
    /// The handler itself; a replay does not read the JSON.
    ByHand,
    /// The handler itself, after its extractor has read the JSON, which the attribute promises for a replay too.
    ByHandExtracted,
    /// `#[idempotent]`.
    Attribute,
}

/// What a request's key has seen before.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    First,
    Replay,
}

/// Where the claims are.
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
