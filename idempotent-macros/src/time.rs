//! Parses the durations of the attribute: a string such as `"24h"`, or the path of a `const Duration`.

use std::time::Duration;

use proc_macro2::Span;
use syn::{Expr, ExprLit, Lit, LitStr, Path, UnOp};

use crate::messages as say;

/// The longest duration: 100 years of 365 days. Every store can calculate with it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The value of `ttl`, `lease` or `wait`.
pub(crate) enum Time {
    /// A string. It is parsed here, so that an error is reported at the string.
    Known { value: Duration, span: Span },
    /// The path of a constant. `Policy::checked` in the runtime checks its value, also at compile time.
    Named(Path),
}

impl Time {
    /// The value and its place, if the user wrote a string.
    pub(crate) fn known(&self) -> Option<(Duration, Span)> {
        match self {
            Self::Known { value, span } => Some((*value, *span)),
            Self::Named(_) => None,
        }
    }

    pub(crate) fn parse(option: &str, value: Expr) -> syn::Result<Self> {
        match value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Self::read(option, &text),
            Expr::Path(path) if path.qself.is_none() => Ok(Self::Named(path.path)),
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                Err(say::bare_number(option, &number, &with_unit(number.base10_digits(), number.suffix())))
            }
            Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => Err(say::bare_number(option, &number, "90s")),
            Expr::Unary(negative) if matches!(negative.op, UnOp::Neg(_)) => {
                Err(say::negative_duration(option, &negative))
            }
            other => Err(say::not_a_duration(option, &other)),
        }
    }

    fn read(option: &str, text: &LitStr) -> syn::Result<Self> {
        let written = text.value();
        if written.trim_start().starts_with('-') {
            return Err(say::negative_duration(option, text));
        }
        if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(say::no_unit(option, text, &format!("{written}s")));
        }
        // In humantime, `M` is a month. A user who writes it most likely means minutes.
        if written.split(|it: char| !it.is_ascii_alphabetic()).any(|unit| unit == "M") {
            return Err(say::months(option, text));
        }
        let value = match humantime::parse_duration(&written) {
            Ok(value) => value,
            Err(humantime::DurationError::NumberOverflow) => {
                return Err(say::too_long(option, text));
            }
            Err(error) => return Err(say::unreadable_duration(option, text, &error)),
        };
        if value.is_zero() && option != "wait" {
            return Err(say::zero_duration(option, text));
        }
        if value > LONGEST {
            return Err(say::too_long(option, text));
        }
        if value.subsec_nanos() % 1_000_000 != 0 {
            return Err(say::too_fine(option, text));
        }
        Ok(Self::Known { value, span: text.span() })
    }
}

/// The duration that a user most likely meant with a number: `24h`, which Rust reads as a number with a suffix, is `24h`,
/// and `60` is `60s`.
fn with_unit(digits: &str, suffix: &str) -> String {
    let typed = format!("{digits}{suffix}");
    if humantime::parse_duration(&typed).is_ok() && !suffix.is_empty() { typed } else { format!("{digits}s") }
}
