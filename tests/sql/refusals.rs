//! The database answers but refuses to write: it is read-only, full, locked, or has no table of ours. Known responses
//! are still replayed, no new handler runs, and nobody waits.

use std::time::Duration;

use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    SqlStore, StoreError, Takeover,
    store::{Acquired, ClaimOutcome, CompleteOutcome, ForgetOutcome, ReleaseOutcome, RenewOutcome},
};
use sqlx::{
    PgPool, SqlitePool,
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use support::{
    attempts::{attempt, intruder, rival, win},
    keys::Keys,
    postgres::Postgres,
    sql_store::{postgres_pool, sqlite_pool},
};
use tokio::time::sleep;

/// A pool of one connection. A setting of a session counts only for the statements of that session.
async fn one_connection_of_sqlite() -> (SqlitePool, SqlStore, tempfile::TempDir) {
    let directory = support::directory::in_memory();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("keys.db").display());
    let pool = SqlitePoolOptions::new().max_connections(1).connect(&url).await.expect("a file");
    let store = SqlStore::sqlite(pool.clone()).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    (pool, store, directory)
}

async fn one_connection_of_postgres() -> (PgPool, SqlStore) {
    let url = Postgres::shared().new_url().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a Postgres");
    let store = SqlStore::postgres(pool.clone()).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    (pool, store)
}

async fn read_only(store: &SqlStore, begin: impl AsyncFn(), end: impl AsyncFn()) {
    let keys = Keys::on(store).await;
    begin().await;
    keys.are_answered(store).await;
    // The dead attempt is known, so the policy for outages must not run the handler. A takeover is impossible, because
    // it would write.
    let dead = store.claim(&rival(&keys.dead)).await.expect("answers");
    assert_eq!(dead, ClaimOutcome::Running { left: Duration::ZERO });
    let mut careful = rival(&keys.dead);
    careful.takeover = Takeover::Refuse;
    let dead = store.claim(&careful).await.expect("answers");
    assert!(matches!(dead, ClaimOutcome::Died | ClaimOutcome::Running { left: Duration::ZERO }), "{dead:?}");
    assert!(matches!(store.claim(&attempt()).await, Err(StoreError::Refused(_))));
    // A standby may lag behind, so a claim that it shows as this attempt's may belong to another attempt by now.
    assert!(matches!(store.claim(&keys.running).await, Ok(ClaimOutcome::Acquired(_)) | Err(StoreError::Refused(_))));
    keys.are_not_written(store).await;
    end().await;
    keys.go_on(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_read_only() {
    let (pool, store, _directory) = one_connection_of_sqlite().await;
    let say = async |sql: &str| {
        sqlx::query(sql).execute(&pool).await.expect("a pragma");
    };
    read_only(&store, async || say("PRAGMA query_only = ON").await, async || say("PRAGMA query_only = OFF").await)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_read_only() {
    let (pool, store) = one_connection_of_postgres().await;
    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.expect("a name");
    // The store opens a new connection after a refusal, so the database has the setting too.
    let set = format!("ALTER DATABASE {database} SET default_transaction_read_only");
    let say = async |statements: [String; 2]| {
        for statement in statements {
            sqlx::query(&statement).execute(&pool).await.expect("a setting");
        }
    };
    let begin = [format!("{set} = on"), "SET default_transaction_read_only = on".to_owned()];
    let end = ["SET default_transaction_read_only = off".to_owned(), format!("{set} = off")];
    read_only(&store, async || say(begin.clone()).await, async || say(end.clone()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_is_full() {
    let (pool, store, _directory) = one_connection_of_sqlite().await;
    let keys = Keys::on(&store).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&pool).await.expect("a number");
    sqlx::query(&format!("PRAGMA max_page_count = {pages}")).execute(&pool).await.expect("a limit");
    // The last page has room for a few more records.
    let full = loop {
        match store.claim(&attempt()).await {
            Ok(ClaimOutcome::Acquired(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(full, Err(StoreError::Full(what)) if what.contains("max_page_count")), "{full:?}");
    assert_eq!(store.claim(&rival(&keys.done)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    let large = vec![b'x'; 100_000];
    let refused = store.complete(&keys.running, keys.fence, large.clone().into()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    sqlx::query("PRAGMA max_page_count = 1000000").execute(&pool).await.expect("no limit");
    assert_eq!(
        store.complete(&keys.running, keys.fence, large.into()).await.expect("answers"),
        CompleteOutcome::Stored
    );
    win(&store, &attempt()).await;
}

/// A trigger raises the error that the server raises when a tablespace is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_full() {
    let (pool, store) = one_connection_of_postgres().await;
    let keys = Keys::on(&store).await;
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION no_room()";
    sqlx::raw_sql(full).execute(&pool).await.expect("a trigger");
    keys.are_answered(&store).await;
    assert!(matches!(store.claim(&attempt()).await, Err(StoreError::Full(_))));
    let again = store.claim(&keys.running).await.expect("answers");
    assert_eq!(again, ClaimOutcome::Acquired(Acquired::new(keys.fence, false)));
    assert!(matches!(store.complete(&keys.running, keys.fence, "record".into()).await, Err(StoreError::Full(_))));
    sqlx::query("DROP TRIGGER no_room ON idempotency_keys").execute(&pool).await.expect("room");
    keys.go_on(&store).await;
}

async fn forbidden(store: &SqlStore, advice: &str) {
    let refused = store.claim(&attempt()).await;
    let Err(StoreError::Forbidden(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains(advice), "{cause}");
    assert!(matches!(store.lookup(&attempt().key).await, Err(StoreError::Forbidden(_))));
    assert!(matches!(store.complete(&attempt(), 1, "r".into()).await, Err(StoreError::Forbidden(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_table_the_error_says_what_to_do() {
    let pool = postgres_pool(&Postgres::shared().new_url().await, 2).await;
    forbidden(&SqlStore::postgres(pool), "SqlStore::migrate").await;
    let directory = support::directory::in_memory();
    let pool = sqlite_pool(&format!("sqlite://{}", directory.path().join("keys.db").display())).await;
    forbidden(&SqlStore::sqlite(pool), "SqlStore::migrate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_the_error_says_what_to_grant() {
    let (pool, _) = one_connection_of_postgres().await;
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    sqlx::query(&format!("CREATE ROLE {role}")).execute(&pool).await.expect("a role");
    sqlx::query(&format!("SET ROLE {role}")).execute(&pool).await.expect("the role");
    forbidden(&SqlStore::postgres(pool), "GRANT").await;
}

/// A handler's transaction holds a lock on the row of a key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_row_that_is_locked_in_postgres() {
    let pool = postgres_pool(&Postgres::shared().new_url().await, 3).await;
    let store = SqlStore::postgres(pool.clone()).timeout(Duration::from_millis(200)).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    let keys = Keys::on(&store).await;
    let mut open = pool.begin().await.expect("a transaction");
    sqlx::query("UPDATE idempotency_keys SET fence = fence").execute(&mut *open).await.expect("locks");

    let Keys { running, fence, .. } = &keys;
    let calls = async {
        keys.are_answered(&store).await;
        win(&store, &attempt()).await;
        assert!(matches!(store.renew(running, &Acquired::new(*fence, false)).await, Err(StoreError::Timeout)));
        assert!(matches!(store.complete(running, *fence, "record".into()).await, Err(StoreError::Timeout)));
        assert!(matches!(store.release(running).await, Err(StoreError::Timeout)));
        assert!(matches!(store.forget(&keys.done.key).await, Err(StoreError::Timeout)));
    };
    tokio::time::timeout(Duration::from_secs(60), calls).await.expect("nobody waits for the transaction");

    open.rollback().await.expect("answers");
    assert_eq!(store.renew(running, &Acquired::new(*fence, false)).await.expect("answers"), RenewOutcome::Renewed);
    assert_eq!(store.forget(&keys.done.key).await.expect("answers"), ForgetOutcome::Forgotten);
    keys.go_on(&store).await;
}

/// Another connection is writing. Replays and duplicates are answered, but a new key cannot be claimed until it has
/// finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_somebody_writes_to_sqlite_what_is_known_is_answered() {
    let directory = support::directory::in_memory();
    let url = format!("sqlite://{}", directory.path().join("keys.db").display());
    let options: SqliteConnectOptions = url.parse().expect("a URL");
    let connected = async |connections, busy_timeout| {
        let options = options.clone().create_if_missing(true).busy_timeout(busy_timeout);
        SqlitePoolOptions::new().max_connections(connections).connect_with(options).await.expect("a file")
    };
    let pool = connected(3, Duration::from_secs(60)).await;
    let store = SqlStore::sqlite(pool.clone()).delete_expired_by_hand();
    let impatient = SqlStore::sqlite(connected(1, Duration::from_millis(100)).await).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    let keys = Keys::on(&store).await;
    let open = pool.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");

    assert_eq!(store.claim(&rival(&keys.done)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    let met = store.claim(&rival(&keys.running)).await.expect("answers");
    assert!(matches!(met, ClaimOutcome::Running { left } if !left.is_zero()), "{met:?}");
    // There are more waiting claims than connections. They do not take the connections that the others need.
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(&attempt()).await })
        })
        .collect();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(store.claim(&rival(&keys.done)).await.expect("answers"), ClaimOutcome::Done("record".into()));
    assert!(matches!(impatient.claim(&attempt()).await, Err(StoreError::Timeout)));
    assert!(waiting.iter().all(|claim| !claim.is_finished()), "no key can be claimed meanwhile");
    open.rollback().await.expect("answers");
    for claim in waiting {
        assert!(matches!(claim.await.expect("no panic"), Ok(ClaimOutcome::Acquired(_))));
    }
    keys.go_on(&store).await;
    let ended = store.release(&keys.running).await.expect("answers");
    assert_eq!(ended, ReleaseOutcome::NotOurs, "it is finished");
}

/// Another connection writes for longer than a claim tries to get a locked row. Of the claims that waited, one gets the
/// key, and each of the others is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_waited_for_a_slow_writer_of_sqlite_are_told_who_has_the_key() {
    let directory = support::directory::in_memory();
    let pool = sqlite_pool(&format!("sqlite://{}", directory.path().join("keys.db").display())).await;
    let store = SqlStore::sqlite(pool.clone()).timeout(Duration::from_secs(30)).delete_expired_by_hand();
    store.migrate().await.expect("a table");
    let first = attempt();
    let open = pool.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");

    let claims: Vec<_> = [first.clone(), first.clone(), rival(&first), intruder(&first)]
        .into_iter()
        .map(|attempt| {
            let store = store.clone();
            tokio::spawn(async move { (attempt.clone(), store.claim(&attempt).await.expect("answers")) })
        })
        .collect();
    sleep(Duration::from_millis(400)).await;
    open.rollback().await.expect("answers");

    let mut answers = Vec::new();
    for claim in claims {
        answers.push(claim.await.expect("no panic"));
    }
    let has_it = |answer: &ClaimOutcome| matches!(answer, ClaimOutcome::Acquired(_));
    let (owner, _) = answers.iter().find(|(_, answer)| has_it(answer)).expect("one has the key").clone();
    for (attempt, answer) in answers {
        match answer {
            ClaimOutcome::Acquired(_) => assert_eq!(attempt.token, owner.token),
            ClaimOutcome::Running { left } => {
                assert!(!left.is_zero(), "the key has just been claimed");
                assert_eq!(attempt.fingerprint, owner.fingerprint);
                assert_ne!(attempt.token, owner.token, "a repeated claim is the same claim");
            }
            ClaimOutcome::OtherRequest => assert_ne!(attempt.fingerprint, owner.fingerprint),
            other => panic!("{other:?}"),
        }
    }
}
