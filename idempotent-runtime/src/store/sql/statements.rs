//! The store's table, and every statement on it, for each database. Pure.
//!
//! A statement that changes an existing row locks it first and skips it if it is locked already (`SKIP LOCKED`). A
//! handler's transaction may hold the lock for long, and no call should wait for it while it uses a connection. SQLite
//! has no row locks; it has one writer.

#[cfg(feature = "sqlx-postgres")]
use crate::sql::schema::POSTGRES_NOW;
#[cfg(feature = "sqlx-sqlite")]
use crate::sql::schema::SQLITE_NOW;
use crate::sql::{schema::Schema, table::Table};

/// An attempt is running, and no earlier attempt is known to have died.
pub(super) const RUNNING: i64 = 0;
/// An attempt is running. An earlier attempt died, or steps are saved.
pub(super) const RECOVERING: i64 = 1;
/// The response is stored.
pub(super) const DONE: i64 = 2;

/// The statements for one table, made once. The comment of each names its parameters first.
///
/// Each statement except `clock` returns the columns of a [`Present`](super::present::Present) if it found or changed a
/// row.
#[derive(Debug)]
pub(super) struct Statements {
    /// Claims an absent key, or returns the existing row. Only in Postgres: in SQLite two statements cost no round
    /// trip, and reading needs no lock.
    #[cfg(feature = "sqlx-postgres")]
    pub(super) claim: String,
    /// Key. Reads a row.
    pub(super) look: String,
    /// Key, fingerprint, token, fence, state, lease, retention, steps, record. Inserts a row, or replaces an expired
    /// one, with the given fence.
    pub(super) insert: String,
    /// Like `insert`, for a first claim. The fence is the database's clock, but at least the given number.
    pub(super) insert_claim: String,
    /// Key, fingerprint, token, fence, lease, retention. Takes the key over from an attempt whose lease is over.
    pub(super) take_over: String,
    /// Key, token, lease, retention. Starts the lease again.
    pub(super) renew: String,
    /// Key, token, fingerprint, fence, record, ttl. Replaces the running row by the finished one.
    pub(super) complete: String,
    /// Key, token, fingerprint, fence, record, ttl. Replaces the finished row by another one.
    pub(super) replace: String,
    /// Key, token, steps. Saves the steps and does not change the lease.
    pub(super) save_steps: String,
    /// Key, token. Deletes a first attempt's claim.
    pub(super) free: String,
    /// Key, token. Ends the lease.
    pub(super) abandon: String,
    /// Key. Changes nothing. Skips a row that a transaction has locked; in SQLite, waits for the writer.
    pub(super) settle: String,
    /// Key. Deletes a row unless its attempt is running.
    pub(super) forget: String,
    /// No parameter. Returns the database's clock, in microseconds since 1970.
    pub(super) clock: String,
}

/// The SQL in which the two databases differ.
struct Words {
    table: String,
    now: &'static str,
    /// The larger of two numbers.
    max: &'static str,
    /// Microseconds since 1970.
    micros: String,
    /// What follows a subquery to lock its rows.
    skip_locked: &'static str,
    parameter: char,
    /// The moment that is a parameter's milliseconds from now.
    after: fn(u8) -> String,
    /// The milliseconds until a moment.
    left: fn(&str) -> String,
}

impl Words {
    #[cfg(feature = "sqlx-sqlite")]
    fn sqlite(table: &Table) -> Self {
        Self {
            table: table.quoted(""),
            now: SQLITE_NOW,
            max: "MAX",
            micros: format!("{SQLITE_NOW} * 1000"),
            skip_locked: "",
            parameter: '?',
            after: |n| format!("{SQLITE_NOW} + ?{n}"),
            left: |column| format!("{column} - {SQLITE_NOW}"),
        }
    }

    #[cfg(feature = "sqlx-postgres")]
    fn postgres(table: &Table) -> Self {
        Self {
            table: table.quoted(""),
            now: POSTGRES_NOW,
            max: "GREATEST",
            micros: format!("(extract(epoch FROM {POSTGRES_NOW}) * 1000000)::bigint"),
            skip_locked: " FOR UPDATE SKIP LOCKED",
            parameter: '$',
            after: |n| format!("{POSTGRES_NOW} + ${n}::bigint * interval '1 millisecond'"),
            // Rounded up, so that a live lease never has zero milliseconds left.
            left: |column| format!("ceil(extract(epoch FROM {column} - {POSTGRES_NOW}) * 1000)::bigint"),
        }
    }

    /// The columns of a row; `bytes` are its steps or its record.
    fn columns(&self, bytes: &str) -> String {
        let (lease, kept) = ((self.left)("lease_ends"), (self.left)("expires_at"));
        format!("token, fingerprint, fence, state, {lease} AS lease_left, {kept} AS kept_left, {bytes} AS bytes")
    }

    /// Changes the row of the first parameter if `condition` holds and no transaction has locked it.
    fn change(&self, verb: &str, condition: &str, bytes: &str) -> String {
        let Self { table, skip_locked, parameter: p, .. } = self;
        format!(
            "{verb} WHERE key = (SELECT key FROM {table} WHERE key = {p}1 AND {condition}{skip_locked}) RETURNING {}",
            self.columns(bytes)
        )
    }

    fn update(&self, set: &str, condition: &str, bytes: &str) -> String {
        self.change(&format!("UPDATE {} SET {set}", self.table), condition, bytes)
    }

    fn delete(&self, condition: &str) -> String {
        self.change(&format!("DELETE FROM {}", self.table), condition, "NULL")
    }

    fn insert(&self, fence: &str, fence_of_expired: &str) -> String {
        let Self { table, now, parameter: p, after, .. } = self;
        let (lease, kept) = (after(6), after(7));
        format!(
            "INSERT INTO {table} AS old (key, fingerprint, token, fence, state, lease_ends, expires_at, steps, record) \
             VALUES ({p}1, {p}2, {p}3, {fence}, {p}5, {lease}, {kept}, {p}8, {p}9) \
             ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token, \
             fence = {fence_of_expired}, state = excluded.state, lease_ends = excluded.lease_ends, \
             expires_at = excluded.expires_at, steps = excluded.steps, record = excluded.record \
             WHERE old.expires_at <= {now} RETURNING {}",
            self.columns("NULL")
        )
    }

    /// One round trip for a first claim, a replay or a duplicate. If there is a row, no insertion is tried, because it
    /// would wait for a transaction that has locked the row.
    #[cfg(feature = "sqlx-postgres")]
    fn claim(&self) -> String {
        let Self { table, micros, max, parameter: p, after, .. } = self;
        let (lease, kept) = (after(5), after(6));
        let columns = self.columns(&bytes());
        format!(
            "WITH present AS (SELECT {columns} FROM {table} WHERE key = {p}1), \
             made AS (INSERT INTO {table} (key, fingerprint, token, fence, state, lease_ends, expires_at) \
             SELECT {p}1, {p}2, {p}3, {max}({micros}, {p}4), {RUNNING}, {lease}, {kept} \
             WHERE NOT EXISTS (SELECT FROM present) ON CONFLICT (key) DO NOTHING RETURNING {}) \
             SELECT * FROM present UNION ALL SELECT * FROM made",
            self.columns("NULL::bytea")
        )
    }

    fn all(&self) -> Statements {
        let Self { table, now, max, micros, parameter: p, after, .. } = self;
        let ours = format!("token = {p}2 AND state < {DONE}");
        let live = format!("{ours} AND expires_at > {now}");
        let finish = format!(
            "fingerprint = {p}3, fence = {p}4, state = {DONE}, lease_ends = NULL, expires_at = {}, steps = NULL, \
             record = {p}5",
            after(6)
        );
        Statements {
            #[cfg(feature = "sqlx-postgres")]
            claim: self.claim(),
            look: format!("SELECT {} FROM {table} WHERE key = {p}1", self.columns(&bytes())),
            insert: self.insert(&format!("{p}4"), "excluded.fence"),
            insert_claim: self
                .insert(&format!("{max}({micros}, {p}4)"), &format!("{max}(excluded.fence, old.fence + 1)")),
            take_over: self.update(
                &format!(
                    "token = {p}3, fence = {max}({micros}, {p}4, fence + 1), state = {RECOVERING}, lease_ends = {}, \
                     expires_at = {}",
                    after(5),
                    after(6)
                ),
                &format!("fingerprint = {p}2 AND state < {DONE} AND lease_ends <= {now} AND expires_at > {now}"),
                "steps",
            ),
            renew: self.update(&format!("lease_ends = {}, expires_at = {}", after(3), after(4)), &live, "NULL"),
            complete: self.update(&finish, &live, "NULL"),
            replace: self.update(&finish, &format!("token = {p}2 AND state = {DONE} AND expires_at > {now}"), "NULL"),
            save_steps: self.update(&format!("steps = {p}3, state = {RECOVERING}"), &live, "NULL"),
            free: self.delete(&format!("token = {p}2 AND state = {RUNNING}")),
            abandon: self.update(&format!("lease_ends = {now}"), &ours, "NULL"),
            settle: self.update("state = state", "TRUE", &bytes()),
            forget: self.delete(&format!("expires_at > {now} AND (state = {DONE} OR lease_ends <= {now})")),
            clock: format!("SELECT {micros}"),
        }
    }

    /// The committed response of a key. The columns are those of the journal's statement.
    fn find(&self) -> String {
        let Self { table, now, parameter: p, left, .. } = self;
        format!(
            "SELECT fingerprint, token, record, {} FROM {table} \
             WHERE key = {p}1 AND state = {DONE} AND expires_at > {now}",
            left("expires_at")
        )
    }

    /// Completes the claim within the handler's own transaction. The parameters are those of the journal's statement,
    /// so the same code runs both. If there is no row, or it has another token, nothing changes and the transaction is
    /// rolled back.
    fn commit(&self) -> String {
        let Self { table, parameter: p, after, .. } = self;
        format!(
            "UPDATE {table} SET fingerprint = {p}2, fence = {p}4, state = {DONE}, lease_ends = NULL, record = {p}5, \
             steps = NULL, expires_at = {} WHERE key = {p}1 AND token = {p}3 AND state < {DONE}",
            after(6)
        )
    }

    /// Saves steps in the handler's own transaction.
    fn commit_steps(&self) -> String {
        let Self { table, parameter: p, .. } = self;
        format!(
            "UPDATE {table} SET steps = {p}3, state = {RECOVERING} WHERE key = {p}1 AND token = {p}2 AND state < {DONE}"
        )
    }
}

/// The bytes of a row: its record if it is finished, otherwise its steps.
fn bytes() -> String {
    format!("CASE WHEN state = {DONE} THEN record ELSE steps END")
}

/// All statements for one table in SQLite.
#[cfg(feature = "sqlx-sqlite")]
pub(super) fn sqlite(table: &Table) -> (Schema, Statements) {
    let words = Words::sqlite(table);
    let layout = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    \
             key         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint BLOB    NOT NULL,             -- BLAKE3 of the request\n    \
             token       BLOB    NOT NULL,             -- of the attempt that has the key\n    \
             fence       INTEGER NOT NULL,\n    \
             state       INTEGER NOT NULL,             -- 0 running, 1 running after one that died, 2 finished\n    \
             lease_ends  INTEGER,                      -- while it runs\n    \
             expires_at  INTEGER NOT NULL,\n    \
             steps       BLOB,                         -- while it runs\n    \
             record      BLOB                          -- when it is finished: the response\n);\n",
        words.table
    );
    let schema = Schema::sqlite(table, words.commit(), words.find(), &layout);
    (Schema { save_steps: Some(words.commit_steps()), ..schema }, words.all())
}

/// All statements for one table in Postgres.
#[cfg(feature = "sqlx-postgres")]
pub(super) fn postgres(table: &Table) -> (Schema, Statements) {
    let words = Words::postgres(table);
    let layout = format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    \
             key         bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the store key\n    \
             fingerprint bytea       NOT NULL,             -- BLAKE3 of the request\n    \
             token       bytea       NOT NULL,             -- of the attempt that has the key\n    \
             fence       bigint      NOT NULL,\n    \
             state       bigint      NOT NULL,             -- 0 running, 1 running after one that died, 2 finished\n    \
             lease_ends  timestamptz,                      -- while it runs\n    \
             expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),\n    \
             steps       bytea,                            -- while it runs\n    \
             record      bytea                             -- when it is finished: the response\n);\n",
        words.table
    );
    let schema = Schema::postgres(table, words.commit(), words.find(), &layout);
    (Schema { save_steps: Some(words.commit_steps()), ..schema }, words.all())
}
