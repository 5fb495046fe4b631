//! Measures the cost of a store in the database: `cargo bench -p idempotent-workspace --bench sql_store`.
//!
//! Measures claim, replay, completion and commit, beside the same work by hand in its simplest form (no lease, no
//! takeover, no clock). Then measures the size of a row, and the cost of cleaning up a million rows. SQLite has its
//! default durability on a file, Postgres has `fsync` on. The results are in `docs/operations.md`.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    SqlStore,
    store::{ClaimOutcome, ClaimRequest, Fingerprint, StoreKey, Token},
};
use support::postgres::Postgres;

const ROUNDS: usize = 1_000;
const RECORD: [u8; 200] = [b'x'; 200];

#[tokio::main]
async fn main() {
    println!("| database | | claim | completion | replay | in a transaction |");
    println!("|---|---|---:|---:|---:|---:|");
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("bench.db").display());
    let sqlite = sqlx::SqlitePool::connect(&url).await.unwrap();
    let store = SqlStore::sqlite(sqlite.clone()).delete_expired_by_hand();
    store.migrate().await.unwrap();
    sqlite::compare(&sqlite, &store, "BLOB").await;

    let server = Postgres::start_with(&["shared_buffers=512MB", "max_wal_size=4GB"]);
    let options = sqlx::postgres::PgPoolOptions::new().test_before_acquire(false);
    let postgres = options.connect(&server.url()).await.unwrap();
    let store = SqlStore::postgres(postgres.clone()).delete_expired_by_hand();
    store.migrate().await.unwrap();
    postgresql::compare(&postgres, &store, "bytea").await;

    println!("\n| response | Postgres, a row | SQLite, a row |\n|---:|---:|---:|");
    for size in [0, 200, 1_024, 4_096, 16_384] {
        println!(
            "| {size} B | {} B | {} B |",
            postgresql::row(&postgres, size).await,
            sqlite::row(&sqlite, size).await
        );
    }
    println!("\n| database | a million rows | deleted in batches of 500 | nothing to delete |\n|---|---:|---:|---:|");
    let store = SqlStore::sqlite(sqlite.clone()).delete_expired_by_hand();
    sqlite::fill(&sqlite, 1_000_000, 200, -1).await;
    sqlite::clean(&sqlite, &store, "SQLite").await;
    let store = SqlStore::postgres(postgres.clone()).delete_expired_by_hand();
    postgresql::fill(&postgres, 1_000_000, 200, -1).await;
    postgresql::clean(&postgres, &store, "Postgres").await;
}

fn attempt(number: usize) -> ClaimRequest {
    ClaimRequest::new(StoreKey::new(format!("bench:POST:/payments::{number}")), Fingerprint::from_bytes([7; 32]))
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.0} µs", times[times.len() / 2].as_secs_f64() * 1e6)
}

async fn timed<T>(times: &mut Vec<Duration>, call: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let answer = call.await;
    times.push(start.elapsed());
    answer
}

macro_rules! database {
    ($module:ident, $name:literal, $database:ty, $begin:literal, $rows:expr, $size:expr) => {
        mod $module {
            use super::*;

            type Pool = sqlx::Pool<$database>;

            pub(super) async fn compare(pool: &Pool, store: &SqlStore, bytes: &str) {
                let table = format!("CREATE TABLE by_hand (key {bytes} PRIMARY KEY, record {bytes})");
                sqlx::raw_sql(&table).execute(pool).await.unwrap();
                // The two take turns, so that other load on the machine affects both.
                let (mut hand, mut ours) = (<[Vec<Duration>; 4]>::default(), <[Vec<Duration>; 4]>::default());
                for round in 0..ROUNDS {
                    by_hand(pool, round, &mut hand).await;
                    with_ours(pool, store, round, &mut ours).await;
                }
                let row = |what: &str, times: [Vec<Duration>; 4]| {
                    println!("| {} | {what} | {} |", $name, times.map(median).join(" | "));
                };
                row("by hand", hand);
                row("ours", ours);
            }

            async fn by_hand(pool: &Pool, round: usize, times: &mut [Vec<Duration>; 4]) {
                let [claims, completions, replays, commits] = times;
                for in_a_transaction in [false, true] {
                    let key = format!("{round}-{in_a_transaction}").into_bytes();
                    let claim = "INSERT INTO by_hand (key) VALUES ($1) ON CONFLICT DO NOTHING";
                    let complete = "UPDATE by_hand SET record = $2 WHERE key = $1";
                    let insert = sqlx::query(claim).bind(&key).execute(pool);
                    assert_eq!(timed(claims, insert).await.unwrap().rows_affected(), 1);
                    let complete = sqlx::query(complete).bind(&key).bind(&RECORD[..]);
                    if in_a_transaction {
                        let mut tx = pool.begin_with($begin).await.unwrap();
                        timed(commits, complete.execute(&mut *tx)).await.unwrap();
                        tx.commit().await.unwrap();
                    } else {
                        timed(completions, complete.execute(pool)).await.unwrap();
                    }
                    let look = async {
                        assert_eq!(sqlx::query(claim).bind(&key).execute(pool).await.unwrap().rows_affected(), 0);
                        let look = sqlx::query_scalar::<_, Vec<u8>>("SELECT record FROM by_hand WHERE key = $1");
                        look.bind(&key).fetch_one(pool).await.unwrap()
                    };
                    assert_eq!(timed(replays, look).await.len(), RECORD.len());
                }
            }

            async fn with_ours(pool: &Pool, store: &SqlStore, round: usize, times: &mut [Vec<Duration>; 4]) {
                let [claims, completions, replays, commits] = times;
                for in_a_transaction in [false, true] {
                    let attempt = attempt(2 * round + usize::from(in_a_transaction));
                    let claimed = timed(claims, store.claim(&attempt)).await.unwrap();
                    let ClaimOutcome::Acquired(held) = claimed else { panic!("{claimed:?}") };
                    if in_a_transaction {
                        let mut tx = pool.begin_with($begin).await.unwrap();
                        let key = "SELECT key FROM idempotency_keys WHERE token = $1 AND state = 0";
                        let key = sqlx::query_scalar::<_, Vec<u8>>(key).bind(&attempt.token.as_bytes()[..]);
                        let key = key.fetch_one(&mut *tx).await.unwrap();
                        let commit = sqlx::query(store.commit_statement()).bind(&key[..]);
                        let commit = commit.bind(&attempt.fingerprint.as_bytes()[..]).bind(&attempt.token.as_bytes()[..]);
                        let commit = commit.bind(i64::try_from(held.fence).unwrap()).bind(&RECORD[..]);
                        let done = timed(commits, commit.bind(86_400_000_i64).execute(&mut *tx)).await.unwrap();
                        assert_eq!(done.rows_affected(), 1);
                        tx.commit().await.unwrap();
                    } else {
                        let record = RECORD.as_slice().into();
                        timed(completions, store.complete(&attempt, held.fence, record)).await.unwrap();
                    }
                    let mut retry = attempt.clone();
                    retry.token = Token::fresh();
                    let replayed = timed(replays, store.claim(&retry)).await.unwrap();
                    assert!(matches!(replayed, ClaimOutcome::Done(record) if record.len() == RECORD.len()));
                }
            }

            /// The bytes of a finished row, of the index by its key, and of the index by its expiry.
            pub(super) async fn row(pool: &Pool, size: usize) -> i64 {
                sqlx::raw_sql("DELETE FROM idempotency_keys").execute(pool).await.unwrap();
                sqlx::raw_sql("VACUUM").execute(pool).await.unwrap();
                let before: i64 = sqlx::query_scalar($size).fetch_one(pool).await.unwrap();
                fill(pool, 10_000, size, 86_400).await;
                let after: i64 = sqlx::query_scalar($size).fetch_one(pool).await.unwrap();
                sqlx::raw_sql("DELETE FROM idempotency_keys").execute(pool).await.unwrap();
                sqlx::raw_sql("VACUUM").execute(pool).await.unwrap();
                (after - before) / 10_000
            }

            /// Adds finished rows that expire in `expire_in` seconds.
            pub(super) async fn fill(pool: &Pool, rows: usize, size: usize, expire_in: i64) {
                let insert: String = $rows(rows, size, expire_in);
                sqlx::raw_sql(&insert).execute(pool).await.unwrap();
            }

            pub(super) async fn clean(pool: &Pool, store: &SqlStore, name: &str) {
                let start = Instant::now();
                let (mut deleted, mut slowest, mut batches) = (0, Duration::ZERO, 0_u32);
                loop {
                    let batch = Instant::now();
                    let gone = store.delete_expired(500).await.unwrap();
                    slowest = slowest.max(batch.elapsed());
                    if gone == 0 {
                        break;
                    }
                    (deleted, batches) = (deleted + gone, batches + 1);
                }
                let each = start.elapsed() / batches;
                fill(pool, 1_000_000, 200, 86_400).await;
                let idle = Instant::now();
                assert_eq!(store.delete_expired(500).await.unwrap(), 0);
                println!(
                    "| {name} | {deleted} | {:.1} s in all, {:.1} ms a batch, {:.0} ms the slowest | {:.1} ms |",
                    start.elapsed().as_secs_f64().min((each * batches).as_secs_f64()),
                    each.as_secs_f64() * 1e3,
                    slowest.as_secs_f64() * 1e3,
                    idle.elapsed().as_secs_f64() * 1e3,
                );
            }
        }
    };
}

database!(
    sqlite,
    "SQLite",
    sqlx::Sqlite,
    "BEGIN IMMEDIATE",
    |rows, size, expire_in| format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO idempotency_keys (key, fingerprint, token, fence, state, expires_at, record) \
         SELECT randomblob(32), randomblob(32), randomblob(16), 1700000000000000 + i, 2, \
         CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) + {expire_in} * 1000 + (i % 1000), \
         randomblob({size}) FROM n"
    ),
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
);
database!(
    postgresql,
    "Postgres",
    sqlx::Postgres,
    "BEGIN",
    |rows, size, expire_in| format!(
        "CREATE EXTENSION IF NOT EXISTS pgcrypto; \
         INSERT INTO idempotency_keys (key, fingerprint, token, fence, state, expires_at, record) \
         SELECT sha256(random()::text::bytea || i::text::bytea), sha256(i::text::bytea), gen_random_bytes(16), \
         1700000000000000 + i, 2, now() + {expire_in} * interval '1 second' + (i % 1000) * interval '1 millisecond', \
         (SELECT COALESCE(string_agg(gen_random_bytes(512), ''), '') FROM generate_series(1, {size} / 512) WHERE i = i) \
         || CASE WHEN {size} % 512 = 0 THEN '' ELSE gen_random_bytes(GREATEST({size} % 512, 1)) END \
         FROM generate_series(1, {rows}) AS i"
    ),
    "SELECT pg_total_relation_size('idempotency_keys')"
);
