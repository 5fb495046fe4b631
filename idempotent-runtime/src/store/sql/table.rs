//! The name of a table in the user's database. Pure.

/// The text is not a table's name. A name is `name` or `schema.name`. Each part has 1 to 48 ASCII letters, digits and
/// `_`, and does not begin with a digit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a table's name: write `name` or `schema.name`, each part up to 48 ASCII letters, digits and `_`")]
pub struct TableNameError(String);

/// A name that needs no escaping except quotes.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    pub(super) fn parse(text: &str) -> Result<Self, TableNameError> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        let plain = |part: &str| {
            (1..=48).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !part.starts_with(|first: char| first.is_ascii_digit())
        };
        if !plain(name) || !schema.is_none_or(plain) {
            return Err(TableNameError(text.to_owned()));
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    /// The name with `suffix`, in quotes, so that a keyword can be a name. Case is kept in quoted names.
    pub(super) fn quoted(&self, suffix: &str) -> String {
        format!("{}{}", self.prefix(), self.unqualified(suffix))
    }

    /// Like [`quoted`](Self::quoted), without the schema, for the places where SQL does not allow one.
    pub(super) fn unqualified(&self, suffix: &str) -> String {
        format!("\"{}{suffix}\"", self.name)
    }

    fn prefix(&self) -> String {
        self.schema.as_ref().map(|schema| format!("\"{schema}\".")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_plain_name_with_or_without_a_schema() {
        assert_eq!(Table::parse("billing.journal").unwrap().quoted("_x"), r#""billing"."journal_x""#);
        assert_eq!(Table::parse("order").unwrap().quoted(""), r#""order""#);
        for name in ["", ".", "a.", ".a", "a.b.c", "a b", "1a", "a\"b", "a;--", "tisch_ß", &"a".repeat(49)] {
            assert!(Table::parse(name).is_err(), "{name} was taken");
        }
    }
}
