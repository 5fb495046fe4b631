//! The journal's table in words of SQL, for each dialect. Pure.

use std::fmt;

/// Where the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite,
    #[cfg(feature = "sqlx-postgres")]
    Postgres,
}

/// The statements for one table, made once.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) dialect: Dialect,
    pub(crate) insert: String,
    pub(crate) find: String,
    pub(crate) reap: String,
    /// The version of the layout that is there; only once [`versions`](Self::versions) has run.
    pub(crate) version: String,
    /// Makes room for the version.
    pub(crate) versions: String,
    /// Each step makes a layout of the next version, and says so.
    pub(crate) steps: Vec<String>,
}

/// The table's name is no `name` or `schema.name` of ASCII letters, digits and `_`, each part 1 to 48 bytes long and not
/// beginning with a digit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no table: write `name` or `schema.name` in ASCII letters, digits and `_`, up to 48 each")]
pub struct TableNameError(String);

/// A name that needs no more escaping than quotes.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    pub(crate) fn parse(text: &str) -> Result<Self, TableNameError> {
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

    /// The name with `suffix`, quoted, so that no keyword is in the way. Quoted names keep their case.
    fn quoted(&self, suffix: &str) -> String {
        format!("{}{}", self.prefix(), self.unqualified(suffix))
    }

    fn unqualified(&self, suffix: &str) -> String {
        format!("\"{}{suffix}\"", self.name)
    }

    fn prefix(&self) -> String {
        self.schema.as_ref().map(|schema| format!("\"{schema}\".")).unwrap_or_default()
    }
}

/// SQLite's clock in milliseconds since 1970, in words that every version of it knows.
#[cfg(feature = "sqlx-sqlite")]
const SQLITE_NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

impl Schema {
    #[cfg(feature = "sqlx-sqlite")]
    pub(crate) fn sqlite(table: &Table) -> Self {
        let (journal, versions) = (table.quoted(""), table.quoted("_version"));
        // SQLite wants the schema at the index and not at the table that it is on.
        let (index, indexed) = (table.quoted("_expires_at"), table.unqualified(""));
        Self {
            dialect: Dialect::Sqlite,
            insert: insert(&journal, &format!("{SQLITE_NOW} + ?6"), SQLITE_NOW, |n| format!("?{n}")),
            find: format!(
                "SELECT fingerprint, token, record, expires_at - {SQLITE_NOW} FROM {journal} \
                 WHERE key = ?1 AND expires_at > {SQLITE_NOW}"
            ),
            reap: format!(
                "DELETE FROM {journal} WHERE key IN (SELECT key FROM {journal} WHERE expires_at <= {SQLITE_NOW} \
                 ORDER BY expires_at LIMIT ?1)"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0) FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version INTEGER PRIMARY KEY);\n"),
            steps: vec![format!(
                "CREATE TABLE IF NOT EXISTS {journal} (\n    \
                     key         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
                     fingerprint BLOB    NOT NULL,\n    \
                     token       BLOB    NOT NULL,\n    \
                     fence       INTEGER NOT NULL,\n    \
                     record      BLOB    NOT NULL,\n    \
                     created_at  INTEGER NOT NULL DEFAULT ({SQLITE_NOW}),\n    \
                     expires_at  INTEGER NOT NULL\n);\n\
                 CREATE INDEX IF NOT EXISTS {index} ON {indexed} (expires_at);\n\
                 INSERT INTO {versions} (version) VALUES (1) ON CONFLICT DO NOTHING;\n"
            )],
        }
    }

    #[cfg(feature = "sqlx-postgres")]
    pub(crate) fn postgres(table: &Table) -> Self {
        let (journal, versions) = (table.quoted(""), table.quoted("_version"));
        let index = table.unqualified("_expires_at");
        let now = "clock_timestamp()";
        Self {
            dialect: Dialect::Postgres,
            insert: insert(&journal, &format!("{now} + $6::bigint * interval '1 millisecond'"), now, |n| {
                format!("${n}")
            }),
            find: format!(
                "SELECT fingerprint, token, record, (extract(epoch FROM expires_at - {now}) * 1000)::bigint \
                 FROM {journal} WHERE key = $1 AND expires_at > {now}"
            ),
            reap: format!(
                "DELETE FROM {journal} WHERE expires_at <= {now} AND key IN (SELECT key FROM {journal} \
                 WHERE expires_at <= {now} ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0)::bigint FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version bigint PRIMARY KEY);\n"),
            steps: vec![format!(
                "CREATE TABLE IF NOT EXISTS {journal} (\n    \
                     key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
                     fingerprint bytea       NOT NULL,\n    \
                     token       bytea       NOT NULL,\n    \
                     fence       bigint      NOT NULL,\n    \
                     record      bytea       NOT NULL,\n    \
                     created_at  timestamptz NOT NULL DEFAULT {now},\n    \
                     expires_at  timestamptz NOT NULL\n);\n\
                 CREATE INDEX IF NOT EXISTS {index} ON {journal} (expires_at);\n\
                 INSERT INTO {versions} (version) VALUES (1) ON CONFLICT DO NOTHING;\n"
            )],
        }
    }
}

/// The statement at the heart of the journal. One row is changed if the key is the transaction's, none if it is
/// another's: an expired row is replaced, a live one is left alone, one that is being written is waited for.
fn insert(journal: &str, expires_at: &str, now: &str, parameter: impl Fn(u8) -> String) -> String {
    let values: Vec<String> = (1..=5).map(parameter).collect();
    format!(
        "INSERT INTO {journal} AS old (key, fingerprint, token, fence, record, expires_at) \
         VALUES ({}, {expires_at}) \
         ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token, \
         fence = excluded.fence, record = excluded.record, created_at = excluded.created_at, \
         expires_at = excluded.expires_at WHERE old.expires_at <= {now}",
        values.join(", ")
    )
}

impl fmt::Display for Schema {
    /// All of it, as it would be run by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.versions)?;
        self.steps.iter().try_for_each(|step| f.write_str(step))
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
