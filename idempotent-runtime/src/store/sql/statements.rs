//! Every statement on the table, for each database. Pure.
//!
//! A statement that changes an existing row locks it first and skips it if it is locked already (`SKIP LOCKED`). A
//! handler's transaction may hold the lock for long, and no call should wait for it while it uses a connection. SQLite
//! has no row locks; it has one writer.
//!
//! Those that write have the same parameters: 1 key, 2 token, 3 change, 4 state, 5 fence, 6 lease, 7 kept, 8 fingerprint,
//! 9 steps, 10 record, 11 the last moment in microseconds, 12 the token and 13 the change that are expected, 14 whether
//! the body stays, 15 whether the expiry stays.

use super::table::Table;
use crate::protocol::Change;

/// An attempt is running, and no earlier attempt is known to have died.
pub(super) const RUNNING: i64 = 0;
/// An attempt is running. An earlier attempt died, or steps are saved.
pub(super) const RECOVERING: i64 = 1;
/// The response is stored.
pub(super) const DONE: i64 = 2;
/// The attempt has freed the key.
pub(super) const FREED: i64 = 3;
/// In the place of a state: the row was not written by this store.
pub(super) const UNREADABLE: i64 = -1;

/// SQLite's clock in milliseconds since 1970, written so that every version of SQLite understands it.
#[cfg(feature = "sqlx-sqlite")]
const SQLITE_NOW: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

/// Postgres' clock. It advances while a statement waits for a lock.
#[cfg(feature = "sqlx-postgres")]
const POSTGRES_NOW: &str = "clock_timestamp()";

/// The kind of database that a table is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseKind {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite,
    #[cfg(feature = "sqlx-postgres")]
    Postgres,
}

/// The SQL in which the two databases differ.
pub(super) struct SqlDialect {
    pub(super) kind: DatabaseKind,
    pub(super) table: String,
    /// The table that holds the version of the layout.
    pub(super) versions: String,
    /// The index on the expiry, and how the table is named there.
    pub(super) index: (String, String),
    /// The types of bytes, of a number and of the moment of expiry.
    pub(super) types: [&'static str; 3],
    pub(super) now: &'static str,
    /// Microseconds since 1970.
    micros: String,
    /// The fence that is written. SQLite's clock has only milliseconds; it is the clock of this machine, so the process
    /// has raised the fence already.
    fence: String,
    /// What follows a subquery to lock its rows.
    skip_locked: &'static str,
    parameter: char,
    /// What makes an expression a number of 64 bits.
    pub(super) cast: &'static str,
    /// The moment that is a parameter's milliseconds from now.
    after: fn(u8) -> String,
    /// The milliseconds from one moment to another.
    pub(super) millis: fn(&str, &str) -> String,
    /// The milliseconds until the row expires. Rounded up, so that a live lease never has zero milliseconds left.
    left: String,
    /// Whether the moment of expiry is one.
    expires: &'static str,
    pub(super) delete_expired: String,
}

const COLUMNS: &str = "key, token, change, state, fence, lease, kept, fingerprint, expires_at, steps, record";

impl SqlDialect {
    #[cfg(feature = "sqlx-sqlite")]
    pub(super) fn sqlite(table: &Table) -> Self {
        let name = table.quoted("");
        Self {
            kind: DatabaseKind::Sqlite,
            versions: table.quoted("_version"),
            // The schema is written before the index's name and not before the table's.
            index: (table.quoted("_expires_at"), table.unqualified("")),
            types: ["BLOB", "INTEGER", "INTEGER NOT NULL"],
            now: SQLITE_NOW,
            micros: format!("{SQLITE_NOW} * 1000"),
            fence: "?5".to_owned(),
            skip_locked: "",
            parameter: '?',
            cast: "",
            after: |n| format!("{SQLITE_NOW} + ?{n}"),
            millis: |from, to| format!("{to} - {from}"),
            left: format!("expires_at - {SQLITE_NOW}"),
            expires: "typeof(expires_at) = 'integer'",
            delete_expired: format!(
                "DELETE FROM {name} WHERE key IN (SELECT key FROM {name} WHERE expires_at <= {SQLITE_NOW} \
                 ORDER BY expires_at LIMIT ?1)"
            ),
            table: name,
        }
    }

    #[cfg(feature = "sqlx-postgres")]
    pub(super) fn postgres(table: &Table) -> Self {
        let name = table.quoted("");
        let micros = format!("(extract(epoch FROM {POSTGRES_NOW}) * 1000000)::bigint");
        let (counted, largest) = (Change::COUNTED.number(), crate::protocol::Head::LARGEST_FENCE);
        Self {
            kind: DatabaseKind::Postgres,
            versions: table.quoted("_version"),
            index: (table.unqualified("_expires_at"), table.quoted("")),
            types: ["bytea", "bigint", "timestamptz NOT NULL CHECK (isfinite(expires_at))"],
            now: POSTGRES_NOW,
            fence: format!("CASE WHEN $3 < {counted} THEN LEAST(GREATEST($5, {micros}), {largest}) ELSE $5 END"),
            micros,
            skip_locked: " FOR UPDATE SKIP LOCKED",
            parameter: '$',
            cast: "::bigint",
            after: |n| format!("{POSTGRES_NOW} + ${n}::bigint * interval '1 millisecond'"),
            millis: |from, to| format!("(extract(epoch FROM {to} - {from}) * 1000)::bigint"),
            left: format!("ceil(extract(epoch FROM expires_at - {POSTGRES_NOW}) * 1000)::bigint"),
            expires: "isfinite(expires_at)",
            // `now()` has one value for the whole statement, so the search in the index stops at the first row that has
            // not expired. With `clock_timestamp()` every row would be read.
            delete_expired: format!(
                "DELETE FROM {name} WHERE key = ANY(ARRAY(SELECT key FROM {name} WHERE expires_at <= now() \
                 ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))"
            ),
            table: name,
        }
    }

    fn readable(&self) -> String {
        format!(
            "state BETWEEN {RUNNING} AND {FREED} AND length(token) = 16 AND length(fingerprint) = 32 AND change >= 0 \
             AND fence >= 0 AND lease >= 0 AND kept >= 0 AND {}",
            self.expires
        )
    }

    /// The columns of a row. The first one says whether the statement has written it, and then the last one is empty.
    fn columns(&self, wrote: bool) -> String {
        let Self { left, expires, .. } = self;
        let state = format!("CASE WHEN {} THEN state ELSE {UNREADABLE} END AS state", self.readable());
        let left = format!("CASE WHEN {expires} THEN {left} ELSE 1 END AS remaining");
        let (wrote, bytes) = match (wrote, self.parameter) {
            (true, '$') => (1, "NULL::bytea".to_owned()),
            (true, _) => (1, "NULL".to_owned()),
            (false, _) => (0, format!("CASE state WHEN {DONE} THEN record ELSE steps END")),
        };
        format!(
            "{wrote}{} AS wrote, token, change, {state}, fence, lease, kept, fingerprint, {left}, {bytes} AS bytes",
            self.cast
        )
    }

    /// Whether the write arrives in time.
    fn in_time(&self) -> String {
        let Self { micros, parameter: p, .. } = self;
        format!("({p}11 IS NULL OR {micros} <= {p}11)")
    }

    pub(super) fn read(&self, condition: &str) -> String {
        let Self { table, parameter: p, .. } = self;
        format!("SELECT {} FROM {table} WHERE key = {p}1{condition}", self.columns(false))
    }

    fn insert(&self, condition: &str) -> String {
        let Self { table, now, fence, parameter: p, after, .. } = self;
        format!(
            "INSERT INTO {table} AS old ({COLUMNS}) \
             SELECT {p}1, {p}2, {p}3, {p}4, {fence}, {p}6, {p}7, {p}8, {}, {p}9, {p}10 WHERE {}{condition} \
             ON CONFLICT (key) DO UPDATE SET {} WHERE old.expires_at <= {now} RETURNING {}",
            after(7),
            self.in_time(),
            overwrite(),
            self.columns(true)
        )
    }

    /// One round trip for a first claim, a replay or a duplicate. If there is a row, no insertion is tried, because it
    /// would wait for a transaction that has locked the row.
    pub(super) fn absent(&self) -> String {
        if self.parameter == '?' {
            return self.insert("");
        }
        let present = self.read(&format!(" AND expires_at > {}", self.now));
        let made = self.insert(" AND NOT EXISTS (SELECT FROM present)");
        format!("WITH present AS ({present}), made AS ({made}) SELECT * FROM present UNION ALL SELECT * FROM made")
    }

    /// Changes the row of the first parameter if `condition` holds and no transaction has locked it.
    fn update(&self, condition: &str) -> String {
        let Self { table, now, fence, skip_locked, parameter: p, after, .. } = self;
        format!(
            "UPDATE {table} SET token = {p}2, change = {p}3, state = {p}4, fence = {fence}, lease = {p}6, kept = {p}7, \
             fingerprint = {p}8, expires_at = CASE WHEN {p}15 = 1 THEN expires_at ELSE {} END, \
             steps = CASE WHEN {p}14 = 1 THEN steps ELSE {p}9 END, \
             record = CASE WHEN {p}14 = 1 THEN record ELSE {p}10 END \
             WHERE key = (SELECT key FROM {table} WHERE key = {p}1 AND {condition} AND expires_at > {now} AND {}\
             {skip_locked}) RETURNING {}",
            after(7),
            self.in_time(),
            self.columns(true)
        )
    }

    /// Changes the row of a token if its change is smaller, or equal for `exactly`.
    pub(super) fn owned(&self, comparison: char) -> String {
        let p = self.parameter;
        self.update(&format!("token = {p}12 AND change {comparison} {p}13 AND {}", self.readable()))
    }

    /// Changes a row that cannot be read.
    pub(super) fn unreadable(&self) -> String {
        self.update(&format!("NOT ({})", self.readable()))
    }

    /// The database's clock, in microseconds since 1970.
    pub(super) fn clock(&self) -> String {
        format!("SELECT {}", self.micros)
    }

    /// Writes a response in the handler's own transaction: key, fingerprint, token, fence, record, ttl. It completes the
    /// claim of this attempt. If the claim is elsewhere, the key has no row yet.
    pub(super) fn commit(&self) -> String {
        let Self { table, now, parameter: p, after, .. } = self;
        let completed = Change::COMPLETED.number();
        format!(
            "INSERT INTO {table} AS old ({COLUMNS}) \
             VALUES ({p}1, {p}3, {completed}, {DONE}, {p}4, 0, {p}6, {p}2, {}, NULL, {p}5) \
             ON CONFLICT (key) DO UPDATE SET {} WHERE old.expires_at <= {now} \
             OR (old.token = excluded.token AND old.change < excluded.change)",
            after(6),
            overwrite()
        )
    }

    /// Saves steps in the handler's own transaction. A save of the same attempt that was sent before and arrives later
    /// has a smaller change.
    pub(super) fn save_steps(&self) -> String {
        let Self { table, parameter: p, .. } = self;
        let completed = Change::COMPLETED.number();
        format!(
            "UPDATE {table} SET steps = {p}3, state = {RECOVERING}, \
             change = CASE WHEN change < {p}4 THEN {p}4 ELSE change END \
             WHERE key = {p}1 AND token = {p}2 AND change < {completed}"
        )
    }

    /// Reads a row, and waits for an open transaction that has written it.
    pub(super) fn settle(&self) -> String {
        match self.parameter {
            '$' => self.read(" FOR UPDATE"),
            _ => format!("UPDATE {} SET state = state WHERE key = ?1 RETURNING {}", self.table, self.columns(false)),
        }
    }
}

/// Sets all columns of a row that is there.
fn overwrite() -> String {
    let set: Vec<String> = COLUMNS.split(", ").skip(1).map(|column| format!("{column} = excluded.{column}")).collect();
    set.join(", ")
}
