//! The journal's table and the statements on it, for each kind of database. Pure.

#[cfg(feature = "sqlx-postgres")]
use crate::sql::schema::POSTGRES_NOW;
#[cfg(feature = "sqlx-sqlite")]
use crate::sql::schema::SQLITE_NOW;
use crate::sql::{schema::Schema, table::Table};

/// The journal's table in SQLite.
#[cfg(feature = "sqlx-sqlite")]
pub(super) fn sqlite(table: &Table) -> Schema {
    let journal = table.quoted("");
    let insert = insert(&journal, &format!("{SQLITE_NOW} + ?6"), SQLITE_NOW, |n| format!("?{n}"));
    let find = format!(
        "SELECT fingerprint, token, record, expires_at - {SQLITE_NOW} FROM {journal} \
         WHERE key = ?1 AND expires_at > {SQLITE_NOW}"
    );
    let layout = format!(
        "CREATE TABLE IF NOT EXISTS {journal} (\n    \
             key         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint BLOB    NOT NULL,\n    \
             token       BLOB    NOT NULL,\n    \
             fence       INTEGER NOT NULL,\n    \
             record      BLOB    NOT NULL,\n    \
             created_at  INTEGER NOT NULL DEFAULT ({SQLITE_NOW}),\n    \
             expires_at  INTEGER NOT NULL\n);\n"
    );
    Schema::sqlite(table, insert, find, &layout, Vec::new())
}

/// The journal's table in Postgres.
#[cfg(feature = "sqlx-postgres")]
pub(super) fn postgres(table: &Table) -> Schema {
    let (journal, now) = (table.quoted(""), POSTGRES_NOW);
    let expires_at = format!("{now} + $6::bigint * interval '1 millisecond'");
    let insert = insert(&journal, &expires_at, now, |n| format!("${n}"));
    let find = format!(
        "SELECT fingerprint, token, record, (extract(epoch FROM expires_at - {now}) * 1000)::bigint \
         FROM {journal} WHERE key = $1 AND expires_at > {now}"
    );
    let layout = format!(
        "CREATE TABLE IF NOT EXISTS {journal} (\n    \
             key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint bytea       NOT NULL,\n    \
             token       bytea       NOT NULL,\n    \
             fence       bigint      NOT NULL,\n    \
             record      bytea       NOT NULL,\n    \
             created_at  timestamptz NOT NULL DEFAULT {now},\n    \
             expires_at  timestamptz NOT NULL\n);\n"
    );
    Schema::postgres(table, insert, find, &layout, Vec::new())
}

/// The statement that records a response. It changes one row if the key is free or its row has expired. It changes none
/// if there is a live row. It waits for an open transaction that has written the key's row.
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
