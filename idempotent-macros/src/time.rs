//! Durations as the attribute takes them: `"24h"`, or a path to a `const Duration`.

use std::time::Duration;

use proc_macro2::Span;
use syn::{Expr, ExprLit, Lit, LitStr, Path, UnOp};

use crate::messages as say;

/// Nobody replays a response after a century, and every store can still count its milliseconds.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What stands behind `ttl =`, `lease =` or `wait =`.
pub(crate) enum Time {
    /// A string, read here, so that the compiler checks it where it is written.
    Known { value: Duration, span: Span },
    /// A constant; `Policy::checked` looks at its value, still while compiling.
    Named(Path),
}

impl Time {
    /// The value, where the attribute itself can know it.
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
        // humantime's `M` is a month, and people mean minutes.
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
        if value.is_zero() {
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

/// `24h`, which Rust reads as a number with a suffix, was meant to be `"24h"`; `60` most likely
/// seconds.
fn with_unit(digits: &str, suffix: &str) -> String {
    let typed = format!("{digits}{suffix}");
    if humantime::parse_duration(&typed).is_ok() && !suffix.is_empty() { typed } else { format!("{digits}s") }
}
