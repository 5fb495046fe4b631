//! What is wrong with a duration, or with two of them beside each other.

use std::{fmt::Display, time::Duration};

use humantime::format_duration;
use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Expr, LitStr};

use super::place::fault;
use crate::table::example;

pub(crate) fn bare_number(option: &str, number: impl ToTokens, with_unit: &str) -> Error {
    fault(number, format!("a duration needs a unit, in a string; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn no_unit(option: &str, text: &LitStr, with_unit: &str) -> Error {
    fault(text, format!("a duration needs a unit; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn negative_duration(option: &str, value: impl ToTokens) -> Error {
    let example = example(option);
    fault(value, format!("a duration cannot be negative; write it like `{example}`"))
}

pub(crate) fn zero_duration(option: &str, text: &LitStr) -> Error {
    let help = match option {
        "wait" => "leave `wait` out: then a duplicate does not wait",
        "lease" => r#"write `lease = "30s"`"#,
        _ => r#"write `ttl = "24h"`, or leave the attribute out where nothing is to be replayed"#,
    };
    fault(text, format!("`{option}` must be longer than nothing; {help}"))
}

pub(crate) fn lease_too_short(place: Span) -> Error {
    Error::new(place, "a lease is renewed at a third of it, which takes time; write `lease = \"100ms\"` or longer")
}

pub(crate) fn lease_too_long(place: Span) -> Error {
    Error::new(
        place,
        "a lease is renewed while the handler runs, and need not be as long as the handler; write `lease = \"30s\"`, \
         and at most a day",
    )
}

pub(crate) fn too_long(option: &str, text: &LitStr) -> Error {
    fault(text, format!("`{option}` is longer than a hundred years; write `{option} = \"24h\"`, or `\"30days\"`"))
}

pub(crate) fn too_fine(option: &str, text: &LitStr) -> Error {
    fault(text, format!("stores count in milliseconds; write a whole number of them, as in `{option} = \"1500ms\"`"))
}

pub(crate) fn unreadable_duration(option: &str, text: &LitStr, error: &impl Display) -> Error {
    fault(
        text,
        format!(
            "this is no duration ({error}); write it like `{option} = \"90s\"`, `\"15m\"`, `\"24h\"` or `\"1h 30m\"`"
        ),
    )
}

pub(crate) fn not_a_duration(option: &str, value: &Expr) -> Error {
    fault(
        value,
        format!(
            "`{option}` takes a string such as `\"90s\"`, or the name of a constant: `const LIMIT: Duration = …;` and `{option} = LIMIT`"
        ),
    )
}

pub(crate) fn ttl_below_default_lease(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a ttl of {} is shorter than the lease, which is {} by default: a claim would be forgotten while its handler runs; write a longer `ttl`, or add `lease = \"{}\"`",
            format_duration(ttl),
            format_duration(lease),
            format_duration(ttl),
        ),
    )
}

pub(crate) fn ttl_below_lease(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a ttl of {} is shorter than the lease of {}: a claim would be forgotten while its handler runs; write `ttl = \"{}\"` or longer",
            format_duration(ttl),
            format_duration(lease),
            format_duration(lease),
        ),
    )
}

pub(crate) fn lease_above_default_ttl(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a lease of {} is longer than the ttl, which is {} by default; write a shorter `lease`, or add `ttl = \"{}\"`",
            format_duration(lease),
            format_duration(ttl),
            format_duration(lease),
        ),
    )
}

pub(crate) fn wait_above_ttl(place: Span, wait: Duration, ttl: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a wait of {} is longer than the ttl of {}: what it waits for would be forgotten; write a `wait` of some seconds, such as `wait = \"5s\"`",
            format_duration(wait),
            format_duration(ttl),
        ),
    )
}

pub(crate) fn months(option: &str, text: &LitStr) -> Error {
    let minutes = text.value().replace('M', "m");
    fault(
        text,
        format!(
            "`M` means months of 30.44 days; for minutes write `{option} = \"{minutes}\"`, for months count the days, as \
             in `{option} = \"30days\"`"
        ),
    )
}
