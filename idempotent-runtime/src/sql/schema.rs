//! What every table of ours has: a version, migration steps, and a statement that deletes expired rows. Pure.

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
    /// Stores a response within the handler's transaction. Its parameters are [`Values`](super::database::Values).
    pub(crate) insert: String,
    /// Key. Reads a committed response that has not expired: the columns of [`Found`](super::database::Found).
    pub(crate) find: String,
    /// Key, token, steps, change. Writes a handler's steps into the row of its claim. Changes one row if the claim is still
    /// this attempt's, and none if not. `None` for a table without claims.
    pub(crate) save_steps: Option<String>,
    pub(crate) reap: String,
    /// Reads the version of the existing layout. [`versions`](Self::versions) must have run before.
    pub(crate) version: String,
    /// Creates the table that holds the version.
    pub(crate) versions: String,
    /// Creates the table of the newest version.
    pub(crate) create: String,
    /// Each leads from one version to the next, beginning with version 1.
    pub(crate) upgrades: Vec<String>,
}

/// SQLite's clock in milliseconds since 1970, written so that every version of SQLite understands it.
#[cfg(feature = "sqlx-sqlite")]
pub(crate) const SQLITE_NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

/// Postgres' clock. It advances while a statement waits for a lock.
#[cfg(feature = "sqlx-postgres")]
pub(crate) const POSTGRES_NOW: &str = "clock_timestamp()";

impl Schema {
    /// `layout` creates the table of the newest version. Each of the upgrades leads from one version to the next.
    #[cfg(feature = "sqlx-sqlite")]
    pub(crate) fn sqlite(table: &Table, insert: String, find: String, layout: &str, upgrades: Vec<String>) -> Self {
        let (name, versions) = (table.quoted(""), table.quoted("_version"));
        // In SQLite the schema is written before the index's name and not before the table's.
        let (index, indexed) = (table.quoted("_expires_at"), table.unqualified(""));
        Self {
            kind: DatabaseKind::Sqlite,
            insert,
            find,
            save_steps: None,
            reap: format!(
                "DELETE FROM {name} WHERE key IN (SELECT key FROM {name} WHERE expires_at <= {SQLITE_NOW} \
                 ORDER BY expires_at LIMIT ?1)"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0) FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version INTEGER PRIMARY KEY);\n"),
            create: format!(
                "{layout}CREATE INDEX IF NOT EXISTS {index} ON {indexed} (expires_at);\n{}",
                is_at(&versions, 1 + upgrades.len())
            ),
            upgrades: numbered(upgrades, &versions),
        }
    }

    /// `layout` creates the table of the newest version. Each of the upgrades leads from one version to the next.
    #[cfg(feature = "sqlx-postgres")]
    pub(crate) fn postgres(table: &Table, insert: String, find: String, layout: &str, upgrades: Vec<String>) -> Self {
        let (name, versions) = (table.quoted(""), table.quoted("_version"));
        let index = table.unqualified("_expires_at");
        Self {
            kind: DatabaseKind::Postgres,
            insert,
            find,
            save_steps: None,
            // `now()` has one value for the whole statement, so the search in the index stops at the first row that has
            // not expired. With `clock_timestamp()` every row would be read.
            reap: format!(
                "DELETE FROM {name} WHERE key = ANY(ARRAY(SELECT key FROM {name} WHERE expires_at <= now() \
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
            ),
            version: format!("SELECT COALESCE(MAX(version), 0)::bigint FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version bigint PRIMARY KEY);\n"),
            create: format!(
                "{layout}CREATE INDEX IF NOT EXISTS {index} ON {name} (expires_at);\n{}",
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
