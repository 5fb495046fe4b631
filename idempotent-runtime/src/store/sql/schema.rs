//! The layout of the table and its versions, and the statements that run on it. Pure.

use std::fmt;

use super::{
    statements::{DONE, DatabaseKind, SqlDialect},
    table::Table,
};
use crate::protocol::Change;

/// The statements for one table, made once. [`read`](Self::read) to [`unreadable`](Self::unreadable) and
/// [`settle`](Self::settle) return the [`Columns`](super::row::Columns) of a row if they found or changed one.
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) kind: DatabaseKind,
    /// Key. Reads a row.
    pub(crate) read: String,
    /// Inserts a row, or replaces an expired one. In Postgres it returns the existing row otherwise. In SQLite a second
    /// statement costs no round trip, and reading needs no lock.
    pub(super) absent: String,
    /// Changes the row of a token if its change is smaller.
    pub(super) owner: String,
    /// Changes the row of a token and a change.
    pub(super) exactly: String,
    /// Changes a row that cannot be read.
    pub(super) unreadable: String,
    /// No parameter. Returns the database's clock, in microseconds since 1970.
    pub(super) clock: String,
    /// Key, fingerprint, token, fence, record, ttl. Writes a response within the handler's transaction.
    /// Changes one row if the key is free, its row has expired, or the row is that of this attempt's claim. Otherwise
    /// changes none. Waits for an open transaction that has written the key's row.
    pub(super) commit: String,
    /// Key, token, steps, change. Writes a handler's steps into the row of its claim. Changes one row if the claim is still
    /// this attempt's, and none if not.
    pub(super) save_steps: String,
    /// Key. Reads a row, and waits for an open transaction that has written it.
    pub(crate) settle: String,
    /// How many rows at most.
    pub(super) delete_expired: String,
    /// Reads the version of the existing layout. [`versions`](Self::versions) must have run before.
    pub(super) version: String,
    /// Creates the table that holds the version.
    pub(super) versions: String,
    /// Creates the table of the newest version.
    create: String,
    /// Each leads from one version to the next, beginning with version 1.
    upgrades: Vec<String>,
}

impl Schema {
    #[cfg(feature = "sqlx-sqlite")]
    pub(super) fn sqlite(table: &Table) -> Self {
        Self::new(&SqlDialect::sqlite(table))
    }

    #[cfg(feature = "sqlx-postgres")]
    pub(super) fn postgres(table: &Table) -> Self {
        Self::new(&SqlDialect::postgres(table))
    }

    fn new(dialect: &SqlDialect) -> Self {
        let (versions, [_, number, _], cast) = (&dialect.versions, dialect.types, dialect.cast);
        Self {
            kind: dialect.kind,
            read: dialect.read(""),
            absent: dialect.absent(),
            owner: dialect.owned('<'),
            exactly: dialect.owned('='),
            unreadable: dialect.unreadable(),
            clock: dialect.clock(),
            commit: dialect.commit(),
            save_steps: dialect.save_steps(),
            settle: dialect.settle(),
            delete_expired: dialect.delete_expired.clone(),
            version: format!("SELECT COALESCE(MAX(version), 0){cast} FROM {versions}"),
            versions: format!("CREATE TABLE IF NOT EXISTS {versions} (version {number} PRIMARY KEY);\n"),
            create: create(dialect) + &is_at(versions, 2),
            upgrades: vec![upgrade_from_1(dialect) + &is_at(versions, 2)],
        }
    }

    /// What brings a table of this version to the newest one. Version 0: there is no table.
    pub(super) fn migration(&self, version: i64) -> &[String] {
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

fn create(SqlDialect { table, index: (index, indexed), types: [bytes, number, expiry], .. }: &SqlDialect) -> String {
    // The type of the expiry is the longest.
    let width = expiry.find(' ').unwrap_or(0);
    let (body, comments) = (format!("{bytes},"), width + " NOT NULL PRIMARY KEY, ".len());
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (\n    \
             key         {bytes:width$} NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint {bytes:width$} NOT NULL,             -- BLAKE3 of the request\n    \
             token       {bytes:width$} NOT NULL,             -- of the attempt that has the key\n    \
             change      {number:width$} NOT NULL,             -- the attempt's own number of this write\n    \
             fence       {number:width$} NOT NULL,\n    \
             state       {number:width$} NOT NULL,             -- 0 running, 1 running after one that died, 2 finished, 3 freed\n    \
             lease       {number:width$} NOT NULL,             -- in milliseconds: it ends at expires_at - kept + lease\n    \
             kept        {number:width$} NOT NULL,             -- in milliseconds: how long the row was kept when it was written\n    \
             expires_at  {expiry},\n    \
             steps       {body:comments$}-- while it runs\n    \
             record      {bytes:comments$}-- when it is finished: the response\n);\n\
         CREATE INDEX IF NOT EXISTS {index} ON {indexed} (expires_at);\n"
    )
}

/// Layout 1 had the end of the lease in place of its length, and did not number changes.
fn upgrade_from_1(SqlDialect { table, now, types: [_, number, _], millis, .. }: &SqlDialect) -> String {
    let columns = ["change", "lease", "kept"]
        .map(|column| format!("ALTER TABLE {table} ADD COLUMN {column} {number} NOT NULL DEFAULT 0;\n"))
        .concat();
    let (first, completed) = (Change::FIRST.number(), Change::COMPLETED.number());
    let (lease, rest) = (millis(now, "lease_ends"), millis("lease_ends", "expires_at"));
    format!(
        "{columns}UPDATE {table} SET change = CASE WHEN state = {DONE} THEN {completed} ELSE {first} + state END;\n\
         UPDATE {table} SET lease = CASE WHEN {lease} > 1 THEN {lease} ELSE 1 END WHERE state < {DONE};\n\
         UPDATE {table} SET kept = lease + {rest} WHERE state < {DONE};\n\
         ALTER TABLE {table} DROP COLUMN lease_ends;\n"
    )
}

fn is_at(versions: &str, version: usize) -> String {
    format!("INSERT INTO {versions} (version) VALUES ({version}) ON CONFLICT DO NOTHING;\n")
}
