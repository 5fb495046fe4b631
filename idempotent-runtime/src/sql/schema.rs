//! The layout of the table, its versions, and the statements that run over a handler's own connection. Pure.

use std::fmt;

use super::table::Table;

/// The kind of database that a table is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseKind {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite,
    #[cfg(feature = "sqlx-postgres")]
    Postgres,
}

/// The statements for one table, made once.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) kind: DatabaseKind,
    /// Writes a response within the handler's transaction. Its parameters are [`Values`](super::database::Values).
    /// Changes one row if the key is free, its row has expired, or the row is that of this attempt's claim. Otherwise
    /// changes none. Waits for an open transaction that has written the key's row.
    pub(crate) commit: String,
    /// Key. Reads a committed response that has not expired: the columns of [`Found`](super::database::Found).
    pub(crate) find: String,
    /// Key, token, steps, change. Writes a handler's steps into the row of its claim. Changes one row if the claim is still
    /// this attempt's, and none if not.
    pub(crate) save_steps: String,
    /// Key. Reads the steps of a row, and waits for an open transaction that has written it: the columns of
    /// [`FoundSteps`](super::database::FoundSteps).
    pub(crate) settle_steps: String,
    /// How many rows at most.
    pub(crate) delete_expired: String,
    /// Reads the version of the existing layout. [`versions`](Self::versions) must have run before.
    pub(crate) version: String,
    /// Creates the table that holds the version.
    pub(crate) versions: String,
    /// Creates the table of the newest version.
    pub(crate) create: String,
    /// Each leads from one version to the next, beginning with version 1.
    pub(crate) upgrades: Vec<String>,
}

/// What differs between two tables.
pub(crate) struct Layout {
    pub(crate) commit: String,
    pub(crate) find: String,
    pub(crate) save_steps: String,
    pub(crate) settle_steps: String,
    /// Creates the table of the newest version.
    pub(crate) create: String,
    /// Each leads from one version to the next.
    pub(crate) upgrades: Vec<String>,
}

/// SQLite's clock in milliseconds since 1970, written so that every version of SQLite understands it.
#[cfg(feature = "sqlx-sqlite")]
pub(crate) const SQLITE_NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

/// Postgres' clock. It advances while a statement waits for a lock.
#[cfg(feature = "sqlx-postgres")]
pub(crate) const POSTGRES_NOW: &str = "clock_timestamp()";

impl Schema {
    #[cfg(feature = "sqlx-sqlite")]
    pub(crate) fn sqlite(table: &Table, layout: Layout) -> Self {
        let Layout { commit, find, save_steps, settle_steps, create, upgrades } = layout;
        let (name, versions) = (table.quoted(""), table.quoted("_version"));
        // In SQLite the schema is written before the index's name and not before the table's.
        let (index, indexed) = (table.quoted("_expires_at"), table.unqualified(""));
        Self {
            kind: DatabaseKind::Sqlite,
            commit,
            find,
            save_steps,
            settle_steps,
            delete_expired: format!(
                "DELETE FROM {name} WHERE key IN (SELECT key FROM {name} WHERE expires_at <= {SQLITE_NOW} \
                 ORDER BY expires_at LIMIT ?1)"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0) FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version INTEGER PRIMARY KEY);\n"),
            create: format!(
                "{create}CREATE INDEX IF NOT EXISTS {index} ON {indexed} (expires_at);\n{}",
                is_at(&versions, 1 + upgrades.len())
            ),
            upgrades: numbered(upgrades, &versions),
        }
    }

    #[cfg(feature = "sqlx-postgres")]
    pub(crate) fn postgres(table: &Table, layout: Layout) -> Self {
        let Layout { commit, find, save_steps, settle_steps, create, upgrades } = layout;
        let (name, versions) = (table.quoted(""), table.quoted("_version"));
        let index = table.unqualified("_expires_at");
        Self {
            kind: DatabaseKind::Postgres,
            commit,
            find,
            save_steps,
            settle_steps,
            // `now()` has one value for the whole statement, so the search in the index stops at the first row that has
            // not expired. With `clock_timestamp()` every row would be read.
            delete_expired: format!(
                "DELETE FROM {name} WHERE key = ANY(ARRAY(SELECT key FROM {name} WHERE expires_at <= now() \
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0)::bigint FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version bigint PRIMARY KEY);\n"),
            create: format!(
                "{create}CREATE INDEX IF NOT EXISTS {index} ON {name} (expires_at);\n{}",
                is_at(&versions, 1 + upgrades.len())
            ),
            upgrades: numbered(upgrades, &versions),
        }
    }
}

impl Schema {
    /// What brings a table of this version to the newest one. Version 0: there is no table.
    pub(crate) fn migration(&self, version: i64) -> &[String] {
        match usize::try_from(version) {
            Ok(0) | Err(_) => std::slice::from_ref(&self.create),
            Ok(version) => self.upgrades.get(version - 1..).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Schema {
    /// All statements, as somebody would run them by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.versions)?;
        f.write_str(&self.create)
    }
}

fn numbered(upgrades: Vec<String>, versions: &str) -> Vec<String> {
    let upgrades = upgrades.into_iter().zip(2..);
    upgrades.map(|(upgrade, version)| upgrade + &is_at(versions, version)).collect()
}

fn is_at(versions: &str, version: usize) -> String {
    format!("INSERT INTO {versions} (version) VALUES ({version}) ON CONFLICT DO NOTHING;\n")
}
