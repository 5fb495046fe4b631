//! Errors about a duration, or about two durations that do not fit together.

use std::{fmt::Display, time::Duration};

use humantime::format_duration;
use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Expr, LitStr};

use super::error_at;
use crate::table::example;

pub(crate) fn bare_number(option: &str, number: impl ToTokens, with_unit: &str) -> Error {
    error_at(number, format!("a duration is a string with a unit; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn no_unit(option: &str, text: &LitStr, with_unit: &str) -> Error {
    error_at(text, format!("a duration needs a unit; write `{option} = \"{with_unit}\"`"))
}

pub(crate) fn negative_duration(option: &str, value: impl ToTokens) -> Error {
    let example = example(option);
    error_at(value, format!("a duration cannot be negative; write it like `{example}`"))
}

pub(crate) fn zero_duration(option: &str, text: &LitStr) -> Error {
    let help = match option {
        "lease" => r#"write `lease = "30s"`"#,
        _ => r#"write `ttl = "24h"`, or remove the attribute if nothing should be replayed"#,
    };
    error_at(text, format!("`{option}` must be longer than zero; {help}"))
}

pub(crate) fn ttl_too_short(place: Span) -> Error {
    Error::new(place, "a ttl must be at least 100ms; write `ttl = \"100ms\"` or longer")
}

pub(crate) fn lease_too_short(place: Span) -> Error {
    Error::new(
        place,
        "a lease must be at least 100ms, because it is renewed after a third of its time; write `lease = \"100ms\"` or longer",
    )
}

pub(crate) fn lease_too_long(place: Span) -> Error {
    Error::new(
        place,
        "a lease must be at most a day; it is renewed while the handler runs, so it can be shorter than the handler; write \
         `lease = \"30s\"`",
    )
}

pub(crate) fn too_long(option: &str, text: &LitStr) -> Error {
    error_at(text, format!("`{option}` is longer than a hundred years; write `{option} = \"24h\"`, or `\"30days\"`"))
}

pub(crate) fn too_fine(option: &str, text: &LitStr) -> Error {
    error_at(text, format!("a duration must be a whole number of milliseconds; write it like `{option} = \"1500ms\"`"))
}

pub(crate) fn unreadable_duration(option: &str, text: &LitStr, error: &impl Display) -> Error {
    error_at(
        text,
        format!(
            "this is not a duration ({error}); write it like `{option} = \"90s\"`, `\"15m\"`, `\"24h\"` or `\"1h 30m\"`"
        ),
    )
}

pub(crate) fn not_a_duration(option: &str, value: &Expr) -> Error {
    error_at(
        value,
        format!(
            "`{option}` takes a string such as `\"90s\"`, or the name of a constant: `const LIMIT: Duration = …;` and `{option} = LIMIT`"
        ),
    )
}

pub(crate) fn ttl_below_lease(place: Span, ttl: Duration, lease: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a ttl of {} is shorter than the lease of {}: the claim would expire while its handler runs; write `ttl = \"{}\"` or longer",
            format_duration(ttl),
            format_duration(lease),
            format_duration(lease),
        ),
    )
}

pub(crate) fn wait_above_ttl(place: Span, wait: Duration, ttl: Duration) -> Error {
    Error::new(
        place,
        format!(
            "a wait of {} is longer than the ttl of {}: the response would expire before the wait ends; write a shorter `wait`, such as `wait = \"5s\"`",
            format_duration(wait),
            format_duration(ttl),
        ),
    )
}

pub(crate) fn months(option: &str, text: &LitStr) -> Error {
    let minutes = text.value().replace('M', "m");
    error_at(
        text,
        format!(
            "`M` means months of 30.44 days; for minutes write `{option} = \"{minutes}\"`, for months count the days, as \
             in `{option} = \"30days\"`"
        ),
    )
}
