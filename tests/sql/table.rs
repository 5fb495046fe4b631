//! Tests the table of `SqlStore`: what it contains, how it is made, and how expired rows are removed.

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    SqlStore,
    store::{ClaimOutcome, ClaimRequest, CompleteOutcome, Fingerprint, Lookup, StoreKey, Token},
};
use sqlx::{PgPool, Row as _, SqlitePool};
use support::{
    attempts::{attempt, done, rival, win},
    postgres::Postgres,
    sql_store::{postgres_pool, sqlite_pool},
};
use tokio::time::sleep;

/// A database that belongs to one test.
enum Database {
    Sqlite { pool: SqlitePool, _directory: tempfile::TempDir },
    Postgres(PgPool),
}

impl Database {
    async fn sqlite() -> Self {
        let directory = support::directory::in_memory();
        let url = format!("sqlite://{}", directory.path().join("keys.db").display());
        Self::Sqlite { pool: sqlite_pool(&url).await, _directory: directory }
    }

    async fn postgres() -> Self {
        Self::Postgres(postgres_pool(&Postgres::shared().new_url().await, 5).await)
    }

    /// A store whose table does not exist yet.
    fn store(&self) -> SqlStore {
        match self {
            Self::Sqlite { pool, .. } => SqlStore::sqlite(pool.clone()),
            Self::Postgres(pool) => SqlStore::postgres(pool.clone()),
        }
    }

    async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite { pool, .. } => drop(sqlx::raw_sql(sql).execute(pool).await.expect("the statements")),
            Self::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.expect("the statements")),
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite { pool, .. } => sqlx::query(sql).fetch_one(pool).await.expect("a number").get(0),
            Self::Postgres(pool) => sqlx::query(sql).fetch_one(pool).await.expect("a number").get(0),
        }
    }
}

/// Runs each scenario on both databases.
macro_rules! on_both_databases {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::Database::sqlite().await).await;
            })*
        }
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::Database::postgres().await).await;
            })*
        }
    };
}

on_both_databases! {
    neither_key_nor_scope_stands_in_the_table
    the_schema_can_be_run_by_hand_under_a_name_of_ones_own
    processes_that_start_together_migrate_once
    expired_rows_are_deleted_in_the_background_for_as_long_as_the_store_is_there
    expired_rows_are_left_alone_when_asked_to
    a_row_that_is_none_of_ours_never_runs
    two_tables_share_no_key
    a_store_whose_durations_have_no_end_works
    a_table_of_version_0_1_is_brought_to_the_new_layout
}

async fn neither_key_nor_scope_stands_in_the_table(database: Database) {
    let store = database.store();
    store.migrate().await.expect("a table");
    let name = StoreKey::new("payments:POST:/payments:user-4711:key-of-the-client");
    let attempt = ClaimRequest::new(name, Fingerprint::from_bytes([1; 32]));
    win(&store, &attempt).await;
    let (text, hex) = match &database {
        Database::Sqlite { .. } => ("instr(CAST(key AS TEXT) || CAST(fingerprint AS TEXT), ", "hex(key)"),
        Database::Postgres(_) => {
            ("strpos(encode(key, 'escape') || encode(fingerprint, 'escape'), ", "encode(key, 'hex')")
        }
    };
    for plain in ["user-4711", "key-of-the-client"] {
        assert_eq!(database.number(&format!("SELECT CAST({text}'{plain}') AS bigint) FROM idempotency_keys")).await, 0);
    }
    assert_eq!(database.number(&format!("SELECT CAST(length({hex}) AS bigint) FROM idempotency_keys")).await, 64);
}

async fn the_schema_can_be_run_by_hand_under_a_name_of_ones_own(database: Database) {
    let name = if matches!(database, Database::Postgres(_)) { "own.Order" } else { "Order" };
    if name.starts_with("own") {
        database.execute("CREATE SCHEMA own").await;
    }
    let store = database.store().table(name).expect("a name");
    database.execute(&store.schema()).await;
    let attempt = done(&store).await;
    assert_eq!(store.claim(&rival(&attempt)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    store.migrate().await.expect("nothing to do");
    assert!(database.store().table("no; table").is_err());
}

async fn processes_that_start_together_migrate_once(database: Database) {
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let store = database.store();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for start in starts {
        start.await.expect("no panic").expect("a table");
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM idempotency_keys_version").await, 1);
}

async fn expired_rows_are_deleted_in_the_background_for_as_long_as_the_store_is_there(database: Database) {
    let store = database.store().delete_expired_every(Duration::from_millis(50));
    store.migrate().await.expect("a table");
    let live = done(&store).await;
    let short = async |store: &SqlStore| {
        let mut attempt = attempt();
        attempt.ttl = Duration::from_millis(1);
        let fence = win(store, &attempt).await;
        assert_eq!(store.complete(&attempt, fence, "r".into()).await.expect("answers"), CompleteOutcome::Stored);
    };
    for _ in 0..20 {
        short(&store).await;
    }
    let start = Instant::now();
    while database.number("SELECT COUNT(*) FROM idempotency_keys").await > 1 {
        assert!(start.elapsed() < Duration::from_secs(20), "they are still there");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(store.lookup(&live.key).await, Ok(Lookup::Done { .. })));

    // Dropping the last clone stops the background work.
    drop(store);
    let by_hand = database.store().delete_expired_by_hand();
    short(&by_hand).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(database.number("SELECT COUNT(*) FROM idempotency_keys").await, 2);
}

async fn expired_rows_are_left_alone_when_asked_to(database: Database) {
    let store = database.store().delete_expired_every(Duration::from_millis(10)).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    for _ in 0..5 {
        let mut attempt = attempt();
        attempt.ttl = Duration::from_millis(1);
        let fence = win(&store, &attempt).await;
        store.complete(&attempt, fence, "r".into()).await.expect("answers");
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!(store.delete_expired(3).await.expect("answers"), 3);
    assert_eq!(store.delete_expired(3).await.expect("answers"), 2);
}

async fn a_row_that_is_none_of_ours_never_runs(database: Database) {
    let store = database.store();
    store.migrate().await.expect("a table");
    let attempt = attempt();
    let fence = win(&store, &attempt).await;
    database.execute("UPDATE idempotency_keys SET state = 7").await;
    assert_eq!(store.claim(&rival(&attempt)).await.expect("answers"), ClaimOutcome::Unreadable);
    assert_eq!(store.claim(&attempt).await.expect("answers"), ClaimOutcome::Unreadable);
    assert_eq!(store.lookup(&attempt.key).await.expect("answers"), Lookup::Unreadable);
    let completed = store.complete(&attempt, fence, "record".into()).await.expect("answers");
    assert_eq!(completed, CompleteOutcome::Lost);
}

async fn two_tables_share_no_key(database: Database) {
    let (one, other) = (database.store().table("one").expect("a name"), database.store().table("two").expect("a name"));
    one.migrate().await.expect("a table");
    other.migrate().await.expect("a table");
    let attempt = attempt();
    win(&one, &attempt).await;
    win(&other, &rival(&attempt)).await;
}

/// A moment that cannot be calculated would be a panic, after the handler has run.
async fn a_store_whose_durations_have_no_end_works(database: Database) {
    let store = database.store().timeout(Duration::MAX).delete_expired_every(Duration::MAX);
    store.migrate().await.expect("a table");
    let attempt = attempt();
    let fence = win(&store, &attempt).await;
    let completed = store.complete(&attempt, fence, "record".into()).await.expect("answers");
    assert_eq!(completed, CompleteOutcome::Stored);
}

async fn a_table_of_version_0_1_is_brought_to_the_new_layout(database: Database) {
    database
        .execute(match &database {
            Database::Sqlite { .. } => include_str!("layouts/sqlite-0.1.sql"),
            Database::Postgres(_) => include_str!("layouts/postgres-0.1.sql"),
        })
        .await;
    let store = database.store();
    for _ in 0..2 {
        store.migrate().await.expect("the new layout");
    }
    let retry =
        |key: &str, fingerprint: u8| ClaimRequest::new(StoreKey::new(key), Fingerprint::from_bytes([fingerprint; 32]));
    assert_eq!(store.claim(&retry("done", 0x11)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    match store.claim(&retry("dead", 0x12)).await.expect("answers") {
        ClaimOutcome::Acquired(held) => {
            assert_eq!((held.recovering, held.fence > 8, held.steps), (true, true, "steps".into()));
        }
        other => panic!("{other:?}"),
    }
    match store.claim(&retry("running", 0x13)).await.expect("answers") {
        ClaimOutcome::Running { left } => {
            assert!(left > Duration::from_secs(3_500) && left <= Duration::from_secs(3_600));
        }
        other => panic!("{other:?}"),
    }
    // The attempt that ran goes on.
    let mut running = retry("running", 0x13);
    running.token = Token::from_bytes([0x23; 16]);
    assert_eq!(store.complete(&running, 9, "r".into()).await.expect("answers"), CompleteOutcome::Stored);
}

#[tokio::test]
async fn the_documented_schema_is_the_one_that_is_run() {
    let schema = SqlStore::postgres(PgPool::connect_lazy("postgres://nobody@127.0.0.1/none").expect("a URL")).schema();
    let documentation = include_str!("../../idempotent-runtime/src/store/sql/mod.rs");
    for line in schema.lines() {
        assert!(documentation.contains(&format!("/// {line}\n")), "not in the documentation: {line}");
    }
}

/// At these levels a transaction sees the database as it was before it waited for the other migrations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_migrate_together_whatever_the_isolation_level_of_the_database() {
    for level in ["repeatable read", "serializable"] {
        let server = Postgres::shared();
        let name = server.database().await;
        let url = Postgres::url_at(server.address(), &name);
        let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
        sqlx::query(&set).execute(&postgres_pool(&url, 1).await).await.expect("a setting");
        let starts: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { SqlStore::postgres(postgres_pool(&url, 1).await).migrate().await })
            })
            .collect();
        for start in starts {
            start.await.expect("no panic").unwrap_or_else(|error| panic!("{level}: {error:?}"));
        }
    }
}

/// The table of the journal as version 0.1 made it in Postgres, with one row.
const OLD_JOURNAL: &str = "
    CREATE TABLE idempotency_journal (
        key bytea NOT NULL PRIMARY KEY, fingerprint bytea NOT NULL, token bytea NOT NULL, fence bigint NOT NULL,
        record bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp(), expires_at timestamptz NOT NULL);
    INSERT INTO idempotency_journal (key, fingerprint, token, fence, record, expires_at) VALUES (
        '\\xa4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211',
        '\\x1111111111111111111111111111111111111111111111111111111111111111', '\\x21212121212121212121212121212121', 7,
        '\\x7265636f7264', now() + interval '1 day')";

#[tokio::test]
async fn the_rows_of_an_old_journal_move_as_the_changelog_says() {
    let database = Database::postgres().await;
    let store = database.store();
    store.migrate().await.expect("a table");
    database.execute(OLD_JOURNAL).await;
    let changelog = include_str!("../../CHANGELOG.md");
    let statement = changelog.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).expect("a statement");
    database.execute(statement).await;
    let found = Claims::lookup(&store, &StoreKey::new("done")).await.expect("a row");
    let Lookup::Done { record, .. } = found else { panic!("{found:?}") };
    assert_eq!(&record[..], b"record");
}
