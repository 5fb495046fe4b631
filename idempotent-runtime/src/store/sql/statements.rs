//! The store's table, and every statement on it, for each database. Pure.
//!
//! A statement that changes an existing row locks it first and skips it if it is locked already (`SKIP LOCKED`). A
//! handler's transaction may hold the lock for long, and no call should wait for it while it uses a connection. SQLite
//! has no row locks; it has one writer.

#[cfg(feature = "sqlx-postgres")]
use crate::sql::schema::POSTGRES_NOW;
#[cfg(feature = "sqlx-sqlite")]
use crate::sql::schema::SQLITE_NOW;
use crate::{
    protocol::Change,
    sql::{
        schema::{Layout, Schema},
        table::Table,
    },
};

/// An attempt is running, and no earlier attempt is known to have died.
pub(crate) const RUNNING: i64 = 0;
/// An attempt is running. An earlier attempt died, or steps are saved.
pub(crate) const RECOVERING: i64 = 1;
/// The response is stored.
pub(super) const DONE: i64 = 2;
/// The attempt has freed the key.
pub(super) const FREED: i64 = 3;
/// In the place of a state: the row was not written by this store.
pub(super) const UNREADABLE: i64 = -1;

/// The statements for one table, made once.
///
/// Those that write have the same parameters: 1 key, 2 token, 3 change, 4 state, 5 fence, 6 lease, 7 kept, 8 fingerprint,
/// 9 steps, 10 record, 11 the last moment in microseconds, 12 the token and 13 the change that are expected, 14 whether
/// the body stays, 15 whether the expiry stays. All but `clock` return the columns of a [`Row`](super::row::Columns) if
/// they found or changed one.
#[derive(Debug)]
pub(super) struct Statements {
    /// Key. Reads a row.
    pub(super) read: String,
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
}

/// The SQL in which the two databases differ.
struct SqlDialect {
    table: String,
    now: &'static str,
    /// Microseconds since 1970.
    micros: String,
    /// The fence that is written. SQLite's clock has only milliseconds; it is the clock of this machine, so the process
    /// has raised the fence already.
    fence: String,
    /// What follows a subquery to lock its rows.
    skip_locked: &'static str,
    parameter: char,
    /// The moment that is a parameter's milliseconds from now.
    after: fn(u8) -> String,
    /// The milliseconds until the row expires. Rounded up, so that a live lease never has zero milliseconds left.
    left: String,
    /// Whether the moment of expiry is one.
    expires: &'static str,
}

const COLUMNS: &str = "key, token, change, state, fence, lease, kept, fingerprint, expires_at, steps, record";

impl SqlDialect {
    #[cfg(feature = "sqlx-sqlite")]
    fn sqlite(table: &Table) -> Self {
        Self {
            table: table.quoted(""),
            now: SQLITE_NOW,
            micros: format!("{SQLITE_NOW} * 1000"),
            fence: "?5".to_owned(),
            skip_locked: "",
            parameter: '?',
            after: |n| format!("{SQLITE_NOW} + ?{n}"),
            left: format!("expires_at - {SQLITE_NOW}"),
            expires: "typeof(expires_at) = 'integer'",
        }
    }

    #[cfg(feature = "sqlx-postgres")]
    fn postgres(table: &Table) -> Self {
        let micros = format!("(extract(epoch FROM {POSTGRES_NOW}) * 1000000)::bigint");
        let (counted, largest) = (Change::COUNTED.number(), crate::protocol::Head::LARGEST_FENCE);
        Self {
            table: table.quoted(""),
            now: POSTGRES_NOW,
            fence: format!("CASE WHEN $3 < {counted} THEN LEAST(GREATEST($5, {micros}), {largest}) ELSE $5 END"),
            micros,
            skip_locked: " FOR UPDATE SKIP LOCKED",
            parameter: '$',
            after: |n| format!("{POSTGRES_NOW} + ${n}::bigint * interval '1 millisecond'"),
            left: format!("ceil(extract(epoch FROM expires_at - {POSTGRES_NOW}) * 1000)::bigint"),
            expires: "isfinite(expires_at)",
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
        let wrote = if self.parameter == '$' { format!("{wrote}::bigint") } else { wrote.to_string() };
        format!("{wrote} AS wrote, token, change, {state}, fence, lease, kept, fingerprint, {left}, {bytes} AS bytes")
    }

    /// Whether the write arrives in time.
    fn in_time(&self) -> String {
        let Self { micros, parameter: p, .. } = self;
        format!("({p}11 IS NULL OR {micros} <= {p}11)")
    }

    fn read(&self, condition: &str) -> String {
        let Self { table, parameter: p, .. } = self;
        format!("SELECT {} FROM {table} WHERE key = {p}1{condition}", self.columns(false))
    }

    fn insert(&self, condition: &str) -> String {
        let Self { table, now, fence, parameter: p, after, .. } = self;
        let set: Vec<String> =
            COLUMNS.split(", ").skip(1).map(|column| format!("{column} = excluded.{column}")).collect();
        format!(
            "INSERT INTO {table} AS old ({COLUMNS}) \
             SELECT {p}1, {p}2, {p}3, {p}4, {fence}, {p}6, {p}7, {p}8, {}, {p}9, {p}10 WHERE {}{condition} \
             ON CONFLICT (key) DO UPDATE SET {} WHERE old.expires_at <= {now} RETURNING {}",
            after(7),
            self.in_time(),
            set.join(", "),
            self.columns(true)
        )
    }

    /// One round trip for a first claim, a replay or a duplicate. If there is a row, no insertion is tried, because it
    /// would wait for a transaction that has locked the row.
    fn absent(&self) -> String {
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

    fn all(&self) -> Statements {
        let Self { micros, parameter: p, .. } = self;
        let readable = self.readable();
        Statements {
            read: self.read(""),
            absent: self.absent(),
            owner: self.update(&format!("token = {p}12 AND change < {p}13 AND {readable}")),
            exactly: self.update(&format!("token = {p}12 AND change = {p}13 AND {readable}")),
            unreadable: self.update(&format!("NOT ({readable})")),
            clock: format!("SELECT {micros}"),
        }
    }

    /// The committed response of a key.
    fn find(&self) -> String {
        let Self { table, now, parameter: p, left, .. } = self;
        format!(
            "SELECT fingerprint, token, record, {left} FROM {table} \
             WHERE key = {p}1 AND state = {DONE} AND expires_at > {now}"
        )
    }

    /// Writes a response in the handler's own transaction: key, fingerprint, token, fence, record, ttl. It completes the
    /// claim of this attempt. If the claim is elsewhere, the key has no row yet.
    fn commit(&self) -> String {
        let Self { table, now, parameter: p, after, .. } = self;
        let completed = Change::COMPLETED.number();
        let set: Vec<String> =
            COLUMNS.split(", ").skip(1).map(|column| format!("{column} = excluded.{column}")).collect();
        format!(
            "INSERT INTO {table} AS old ({COLUMNS}) \
             VALUES ({p}1, {p}3, {completed}, {DONE}, {p}4, 0, {p}6, {p}2, {}, NULL, {p}5) \
             ON CONFLICT (key) DO UPDATE SET {} WHERE old.expires_at <= {now} \
             OR (old.token = excluded.token AND old.change < excluded.change)",
            after(6),
            set.join(", ")
        )
    }

    /// Saves steps in the handler's own transaction. A save of the same attempt that was sent before and arrives later
    /// has a smaller change.
    fn save_steps(&self) -> String {
        let Self { table, parameter: p, .. } = self;
        let completed = Change::COMPLETED.number();
        format!(
            "UPDATE {table} SET steps = {p}3, state = {RECOVERING}, \
             change = CASE WHEN change < {p}4 THEN {p}4 ELSE change END \
             WHERE key = {p}1 AND token = {p}2 AND change < {completed}"
        )
    }

    fn settle_steps(&self) -> String {
        let Self { table, parameter: p, .. } = self;
        match p {
            '$' => format!("SELECT token, state, steps FROM {table} WHERE key = $1 FOR UPDATE"),
            _ => format!("UPDATE {table} SET state = state WHERE key = {p}1 RETURNING token, state, steps"),
        }
    }

    fn layout(&self, create: String, upgrades: Vec<String>) -> Layout {
        let (commit, find) = (self.commit(), self.find());
        Layout { commit, find, save_steps: self.save_steps(), settle_steps: self.settle_steps(), create, upgrades }
    }
}

/// All statements for one table in SQLite.
#[cfg(feature = "sqlx-sqlite")]
pub(super) fn sqlite(table: &Table) -> (Schema, Statements) {
    let dialect = SqlDialect::sqlite(table);
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    \
             key         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint BLOB    NOT NULL,             -- BLAKE3 of the request\n    \
             token       BLOB    NOT NULL,             -- of the attempt that has the key\n    \
             change      INTEGER NOT NULL,             -- the attempt's own number of this write\n    \
             fence       INTEGER NOT NULL,\n    \
             state       INTEGER NOT NULL,             -- 0 running, 1 running after one that died, 2 finished, 3 freed\n    \
             lease       INTEGER NOT NULL,             -- in milliseconds: it ends at expires_at - kept + lease\n    \
             kept        INTEGER NOT NULL,             -- in milliseconds: how long the row was kept when it was written\n    \
             expires_at  INTEGER NOT NULL,\n    \
             steps       BLOB,                         -- while it runs\n    \
             record      BLOB                          -- when it is finished: the response\n);\n",
        dialect.table
    );
    let from_1 =
        upgrade_from_1(&dialect.table, "INTEGER", &format!("lease_ends - {SQLITE_NOW}"), "expires_at - lease_ends");
    (Schema::sqlite(table, dialect.layout(create, vec![from_1])), dialect.all())
}

/// All statements for one table in Postgres.
#[cfg(feature = "sqlx-postgres")]
pub(super) fn postgres(table: &Table) -> (Schema, Statements) {
    let dialect = SqlDialect::postgres(table);
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    \
             key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint bytea       NOT NULL,             -- BLAKE3 of the request\n    \
             token       bytea       NOT NULL,             -- of the attempt that has the key\n    \
             change      bigint      NOT NULL,             -- the attempt's own number of this write\n    \
             fence       bigint      NOT NULL,\n    \
             state       bigint      NOT NULL,             -- 0 running, 1 running after one that died, 2 finished, 3 freed\n    \
             lease       bigint      NOT NULL,             -- in milliseconds: it ends at expires_at - kept + lease\n    \
             kept        bigint      NOT NULL,             -- in milliseconds: how long the row was kept when it was written\n    \
             expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),\n    \
             steps       bytea,                            -- while it runs\n    \
             record      bytea                             -- when it is finished: the response\n);\n",
        dialect.table
    );
    let millis = |from: &str, to: &str| format!("(extract(epoch FROM {to} - {from}) * 1000)::bigint");
    let (lease, rest) = (millis(POSTGRES_NOW, "lease_ends"), millis("lease_ends", "expires_at"));
    let from_1 = upgrade_from_1(&dialect.table, "bigint", &lease, &rest);
    (Schema::postgres(table, dialect.layout(create, vec![from_1])), dialect.all())
}

/// Layout 1 had the end of the lease in place of its length, and did not number changes. `lease` is how much of it is
/// left, `rest` how long the row is kept after it.
fn upgrade_from_1(table: &str, number: &str, lease: &str, rest: &str) -> String {
    let columns = ["change", "lease", "kept"]
        .map(|column| format!("ALTER TABLE {table} ADD COLUMN {column} {number} NOT NULL DEFAULT 0;\n"))
        .concat();
    let (first, completed) = (Change::FIRST.number(), Change::COMPLETED.number());
    format!(
        "{columns}UPDATE {table} SET change = CASE WHEN state = {DONE} THEN {completed} ELSE {first} + state END;\n\
         UPDATE {table} SET lease = CASE WHEN {lease} > 1 THEN {lease} ELSE 1 END WHERE state < {DONE};\n\
         UPDATE {table} SET kept = lease + {rest} WHERE state < {DONE};\n\
         ALTER TABLE {table} DROP COLUMN lease_ends;\n"
    )
}
