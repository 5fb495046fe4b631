//! `Claim::step_in`: a step that is committed together with its effect, in a `SqlStore` and in a journal, on both databases.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use idempotent_runtime::{
    Claim, CommitError, EncryptionKeys, Idempotency, IdempotencyBuilder, MemoryStore, StepError, idempotent,
};
use reqwest::Client;
use sqlx::Connection;
use support::{
    ledger::Ledger,
    postgres::Postgres,
    proxy::{LATE, Loss, Proxy},
};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

/// Where a step is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// In the row of its claim: the store is in the database.
    WithTheClaim,
    /// In a row of the journal: claims are in memory.
    InTheJournal,
}

use Kept::{InTheJournal, WithTheClaim};

/// Runs each scenario on both databases, and in both places.
macro_rules! in_every_place {
    ($($scenario:ident)*) => {
        mod sqlite {
            $(mod $scenario {
                async fn at(kept: crate::step_in::Kept) {
                    let directory = support::directory::in_memory();
                    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
                    crate::step_in::$scenario(kept, crate::step_in::Ledger::connect(&url).await).await;
                }
                in_both_places!();
            })*
        }
        mod postgresql {
            $(mod $scenario {
                async fn at(kept: crate::step_in::Kept) {
                    let url = crate::step_in::Postgres::shared().new_url().await;
                    crate::step_in::$scenario(kept, crate::step_in::Ledger::connect(&url).await).await;
                }
                in_both_places!();
            })*
        }
    };
}

macro_rules! in_both_places {
    () => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn with_the_claim() {
            at(crate::step_in::WithTheClaim).await;
        }
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn in_the_journal() {
            at(crate::step_in::InTheJournal).await;
        }
    };
}

in_every_place! {
    a_saved_step_is_not_run_again_after_a_5xx
    a_step_that_fails_is_rolled_back_and_run_again
    a_name_used_twice_in_one_attempt_is_an_error_before_the_effect
    a_value_that_is_too_large_is_rolled_back_with_its_effect
    without_a_key_a_step_just_runs_and_is_committed
    steps_that_are_saved_in_either_way_stand_together
    another_request_does_not_get_the_value
    a_savepoint_is_no_transaction_to_commit
    what_is_saved_is_encrypted_where_records_are
}

#[derive(Clone, FromRef)]
struct App {
    idempotency: Idempotency,
    ledger: Ledger,
    runs: Arc<AtomicUsize>,
    /// An attempt waits here inside its step, if its request asks for it.
    gate: Arc<Semaphore>,
    /// For how many microseconds an attempt waits for its step, if its request asks for it.
    patience: Arc<AtomicU64>,
}

type Failed = (StatusCode, String);

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn told(error: StepError<Failed>) -> Failed {
    let status = match &error {
        StepError::Failed(failed) => return failed.clone(),
        StepError::Lost => StatusCode::GONE,
        StepError::TooLarge => StatusCode::INSUFFICIENT_STORAGE,
        StepError::Commit(CommitError::Unknown(_)) => StatusCode::GATEWAY_TIMEOUT,
        StepError::Commit(CommitError::NoDatabase | CommitError::Savepoint) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{error:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn database(error: sqlx::Error) -> Failed {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error:?}"))
}

/// Adds a row in a step, for both databases, whose types differ.
macro_rules! add {
    ($tx:expr, $patience:ident, $app:ident, $claim:ident, $name:ident, $wish:ident, $number:ident) => {{
        let step = $claim.step_in($tx, $name, async |db| {
            let add = sqlx::query("INSERT INTO payments (reference, amount) VALUES ($1, 1)");
            add.bind($wish).execute(db).await.map_err(database)?;
            match ($wish, $number) {
                ("fails", 1) => return Err((StatusCode::BAD_GATEWAY, "it fails".to_owned())),
                ("large", _) => return Ok("x".repeat(10_000)),
                ("meets", 1) => drop($app.gate.acquire().await.expect("it is open")),
                _ => {}
            }
            Ok(format!("{} by {}", $name, $number))
        });
        tokio::time::timeout($patience, step).await.unwrap_or(Err(StepError::Lost))
    }};
}

async fn add(app: &App, claim: &Claim, name: &str, wish: &str, number: usize) -> Result<String, StepError<Failed>> {
    add_within(Duration::MAX, app, claim, name, wish, number).await
}

/// The step itself is dropped after this time. The transaction has begun by then.
async fn add_within(
    patience: Duration,
    app: &App,
    claim: &Claim,
    name: &str,
    wish: &str,
    number: usize,
) -> Result<String, StepError<Failed>> {
    let begun = |error| StepError::Failed(database(error));
    match &app.ledger {
        Ledger::Sqlite(pool) => {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(begun)?;
            if wish == "savepoint" {
                let savepoint = tx.begin().await.map_err(begun)?;
                return add!(savepoint, patience, app, claim, name, wish, number);
            }
            add!(tx, patience, app, claim, name, wish, number)
        }
        Ledger::Postgres(pool) => {
            let mut tx = pool.begin().await.map_err(begun)?;
            if wish == "savepoint" {
                let savepoint = tx.begin().await.map_err(begun)?;
                return add!(savepoint, patience, app, claim, name, wish, number);
            }
            add!(tx, patience, app, claim, name, wish, number)
        }
    }
}

/// Adds an order in a step, and also does what the body asks for.
#[idempotent(ttl = "1h", lease = "1s", required = false)]
async fn order(State(app): State<App>, claim: Claim, wish: String) -> Result<(StatusCode, String), Failed> {
    let (number, wish) = (app.runs.fetch_add(1, SeqCst) + 1, wish.as_str());
    let before = async || Ok::<_, Failed>(format!("before by {number}"));
    let mut done = Vec::new();
    match wish {
        "both" => done.push(claim.step("before", before).await.map_err(told)?),
        "dawdles" => drop(app.gate.acquire().await.expect("it is open")),
        _ => {}
    }
    let mut in_time = None;
    if wish.starts_with("drops") {
        let patience = Duration::from_micros(app.patience.load(SeqCst));
        in_time = add_within(patience, &app, &claim, "order", wish, number).await.ok();
    }
    if wish == "drops and goes on" && number == 1 {
        claim.step("after", before).await.map_err(told)?;
        return Err((StatusCode::BAD_GATEWAY, "after its steps".to_owned()));
    }
    let added = match in_time {
        Some(added) => Ok(added),
        None => add(&app, &claim, "order", wish, number).await,
    };
    if let ("unknown", Err(StepError::Commit(CommitError::Unknown(_)))) = (wish, &added) {
        // The handler goes on although it should not.
        let _ = claim.step("after", before).await;
    }
    done.push(added.map_err(told)?);
    match wish {
        "twice" => done.push(add(&app, &claim, "order", wish, number + 1).await.map_err(told)?),
        "both" => {
            done.push(add(&app, &claim, "parcel", wish, number).await.map_err(told)?);
            done.push(claim.step("after", async || Ok::<_, Failed>(format!("after by {number}"))).await.map_err(told)?);
        }
        _ => {}
    }
    if number == 1 && ["5xx", "both"].contains(&wish) {
        return Err((StatusCode::BAD_GATEWAY, "after its steps".to_owned()));
    }
    let recovering = if claim.recovering() { ", recovering" } else { "" };
    Ok((StatusCode::CREATED, format!("{}{recovering}", done.join(", "))))
}

/// A service, and a client of it.
struct Service {
    app: App,
    address: SocketAddr,
}

impl Service {
    async fn new(kept: Kept, ledger: &Ledger) -> Self {
        Self::with(kept, ledger, |builder| builder).await
    }

    /// Starts a service. If claims are in memory, the service has its own memory store.
    async fn with(kept: Kept, ledger: &Ledger, set: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder) -> Self {
        Self::over(
            match kept {
                WithTheClaim => Idempotency::builder(ledger.store()),
                InTheJournal => Idempotency::builder(MemoryStore::new()).commit_to(ledger.store()),
            },
            ledger,
            set,
        )
        .await
    }

    async fn over(
        builder: IdempotencyBuilder,
        ledger: &Ledger,
        set: impl FnOnce(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Self {
        // A long timeout, so that a busy machine is not taken for an outage.
        let idempotency = set(builder.store_timeout(Duration::from_secs(10))).build();
        let (runs, gate) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let patience = Arc::new(AtomicU64::new(200_000));
        let app = App { idempotency, ledger: ledger.clone(), runs, gate, patience };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let routes = Router::new().route("/", post(order)).with_state(app.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self { app, address }
    }

    async fn post(&self, key: Option<&str>, wish: &str) -> (u16, String) {
        let request = Client::new().post(format!("http://{}/", self.address)).body(wish.to_owned());
        let request = if let Some(key) = key { request.header("idempotency-key", key) } else { request };
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    async fn order(&self, wish: &str) -> (u16, String) {
        self.post(Some("k"), wish).await
    }
}

fn created(text: &str) -> (u16, String) {
    (201, text.to_owned())
}

async fn a_saved_step_is_not_run_again_after_a_5xx(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    assert_eq!(service.order("5xx").await.0, 502);
    assert_eq!(service.order("5xx").await, created("order by 1, recovering"));
    assert_eq!(service.order("5xx").await, created("order by 1, recovering"), "a replay");
    assert_eq!((service.app.runs.load(SeqCst), ledger.rows("5xx").await), (2, 1));
}

async fn a_step_that_fails_is_rolled_back_and_run_again(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    assert_eq!(service.order("fails").await, (502, "it fails".to_owned()));
    assert_eq!(ledger.rows("fails").await, 0);
    assert_eq!(service.order("fails").await, created("order by 2"));
    assert_eq!(ledger.rows("fails").await, 1);
}

async fn a_name_used_twice_in_one_attempt_is_an_error_before_the_effect(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    for _ in 0..2 {
        assert_eq!(service.order("twice").await, (503, "NameUsed".to_owned()));
    }
    assert_eq!(ledger.rows("twice").await, 1);
}

async fn a_value_that_is_too_large_is_rolled_back_with_its_effect(kept: Kept, ledger: Ledger) {
    let service = Service::with(kept, &ledger, |builder| builder.max_response(5_000)).await;
    for _ in 0..2 {
        assert_eq!(service.order("large").await.0, 507);
    }
    assert_eq!((service.app.runs.load(SeqCst), ledger.rows("large").await), (2, 0));
}

async fn without_a_key_a_step_just_runs_and_is_committed(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    assert_eq!(service.post(None, "plain").await, created("order by 1"));
    assert_eq!(service.post(None, "plain").await, created("order by 2"));
    assert_eq!(ledger.rows("plain").await, 2);
}

async fn steps_that_are_saved_in_either_way_stand_together(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    assert_eq!(service.order("both").await.0, 502);
    let all = "before by 1, order by 1, parcel by 1, after by 1, recovering";
    assert_eq!(service.order("both").await, created(all));
    assert_eq!(ledger.rows("both").await, 2);
}

/// If the claims are lost, the journal's row still says which request the step belongs to.
async fn another_request_does_not_get_the_value(kept: Kept, ledger: Ledger) {
    assert_eq!(Service::new(kept, &ledger).await.order("5xx").await.0, 502);
    let restarted = Service::new(kept, &ledger).await;
    let (status, text) = restarted.order("other").await;
    assert!(
        [422, 503].contains(&status) && text.to_lowercase().replace('-', "").contains("keyreused"),
        "{status} {text}"
    );
    assert_eq!(ledger.rows("other").await, 0);
    // This is counted as the second attempt: the first one was on the other service.
    restarted.app.runs.store(1, SeqCst);
    let (status, text) = restarted.order("5xx").await;
    assert_eq!((status, text.split(',').next()), (201, Some("order by 1")));
    assert_eq!(ledger.rows("5xx").await, 1);
}

async fn a_savepoint_is_no_transaction_to_commit(kept: Kept, ledger: Ledger) {
    let service = Service::new(kept, &ledger).await;
    let (status, text) = service.order("savepoint").await;
    assert!(status == 501 && text.contains("Savepoint"), "{status} {text}");
    assert_eq!(ledger.rows("savepoint").await, 0);
}

async fn what_is_saved_is_encrypted_where_records_are(kept: Kept, ledger: Ledger) {
    let service = Service::with(kept, &ledger, |builder| builder.encrypt(EncryptionKeys::new([(1, [7; 32])]))).await;
    assert_eq!(service.order("5xx").await.0, 502);
    let (hex, table) = match (&ledger, kept) {
        (Ledger::Sqlite(_), WithTheClaim) => ("hex(steps)", "idempotency_keys"),
        (Ledger::Sqlite(_), InTheJournal) => ("hex(record)", "idempotency_keys"),
        (Ledger::Postgres(_), WithTheClaim) => ("upper(encode(steps, 'hex'))", "idempotency_keys"),
        (Ledger::Postgres(_), InTheJournal) => ("upper(encode(record, 'hex'))", "idempotency_keys"),
    };
    let plain = "order".bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
    let rows = |condition: &str| format!("SELECT COUNT(*) FROM {table} WHERE {hex} {condition}");
    assert_eq!(ledger.number(&rows("LIKE '8001%'")).await, 1, "sealed");
    assert_eq!(ledger.number(&rows(&format!("LIKE '%{plain}%'"))).await, 0);
    assert_eq!(service.order("5xx").await, created("order by 1, recovering"));
    assert_eq!(ledger.rows("5xx").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_nothing_is_committed() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    let service = Service::over(Idempotency::builder(MemoryStore::new()), &ledger, |builder| builder).await;
    let (status, text) = service.order("plain").await;
    assert!(status == 501 && text.contains("NoDatabase"), "{status} {text}");
    assert_eq!(ledger.rows("plain").await, 0);
}

/// The test changes the row as a takeover does, while the first attempt is still in its step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_key_another_one_has_commits_no_step() {
    let ledger = Ledger::connect(&Postgres::shared().new_url().await).await;
    let service = Service::new(WithTheClaim, &ledger).await;
    let (late, ()) = tokio::join!(service.order("dawdles"), async {
        while ledger.number("SELECT COUNT(*) FROM idempotency_keys WHERE state = 0").await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        let take = "UPDATE idempotency_keys SET token = decode(repeat('00', 16), 'hex'), fence = fence + 1, state = 1";
        ledger.execute(take).await;
        service.app.gate.add_permits(1);
    });
    assert_eq!(late.0, 410, "{late:?}");
    assert_eq!(ledger.rows("dawdles").await, 0);
    assert_eq!(ledger.number("SELECT COUNT(*) FROM idempotency_keys WHERE steps IS NOT NULL").await, 0);
}

/// The two attempts have different stores, so neither knows of the other. The first one waits in its step while the
/// second one commits the same step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_attempts_at_once_one_commits_and_both_go_on_with_its_value() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let server = Postgres::shared();
        let database = server.database().await;
        let url = Postgres::url_at(server.address(), &database);
        let set = format!("ALTER DATABASE {database} SET default_transaction_isolation = '{level}'");
        Ledger::connect(&url).await.execute(&set).await;
        let ledger = Ledger::connect(&url).await;
        let (first, second) = (Service::new(InTheJournal, &ledger).await, Service::new(InTheJournal, &ledger).await);
        second.app.runs.store(1, SeqCst);
        let (late, ()) = tokio::join!(first.order("meets"), async {
            while first.app.runs.load(SeqCst) == 0 {
                sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(second.order("meets").await, created("order by 2"), "{level}");
            first.app.gate.add_permits(1);
        });
        assert_eq!(late, created("order by 2"), "{level}");
        assert_eq!(ledger.rows("meets").await, 1, "{level}");
    }
}

async fn a_commit_is_lost(kept: Kept, loss: Loss) {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let ledger = Ledger::connect(&Postgres::url_at(proxy.address(), &database)).await;
    let service = Service::new(kept, &ledger).await;
    proxy.lose_next_commit(loss);
    let (status, text) = service.order("plain").await;
    assert!(proxy.has_lost());
    let committed = matches!(loss, Loss::AnswerLost | Loss::ArrivesLate);
    assert_eq!(status, if committed { 201 } else { 503 }, "{text}");
    assert_eq!(ledger.rows("plain").await, i64::from(committed));
    assert_eq!(service.order("plain").await.0, 201);
    assert_eq!(ledger.rows("plain").await, 1);
}

macro_rules! lost_commits {
    ($($name:ident: $loss:ident;)*) => {
        $(mod $name {
            async fn at(kept: crate::step_in::Kept) {
                crate::step_in::a_commit_is_lost(kept, crate::step_in::Loss::$loss).await;
            }
            in_both_places!();
        })*
    };
}

lost_commits! {
    a_commit_of_a_step_whose_answer_is_lost_is_found: AnswerLost;
    a_commit_of_a_step_that_arrives_late_is_waited_for: ArrivesLate;
    a_commit_of_a_step_that_never_arrives_is_known_not_to_have_happened: NeverArrives;
    a_commit_of_a_step_is_not_judged_while_its_transaction_is_open: NeverArrivesAndStaysOpen;
}

/// The handler goes on even so. Its next step must not overwrite the step that may be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_which_nobody_knows_whether_it_is_committed_is_not_overwritten() {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let ledger = Ledger::connect(&Postgres::url_at(proxy.address(), &database)).await;
    let store = ledger.store().timeout(LATE / 3);
    let service = Service::over(Idempotency::builder(store), &ledger, |builder| builder).await;
    proxy.lose_next_commit(Loss::ArrivesLate);
    let (status, text) = service.order("unknown").await;
    assert_eq!(status, 504, "{text}");
    let answer = loop {
        let answer = service.order("unknown").await;
        if answer.0 != 409 {
            break answer;
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(answer, created("order by 1, recovering"));
    assert_eq!(ledger.rows("unknown").await, 1);
}

/// The handler gives up waiting for its step while the COMMIT is under way, as a `timeout` around it does.
async fn a_step_is_dropped_while_it_is_committed(kept: Kept, wish: &str) {
    let server = Postgres::shared();
    let database = server.database().await;
    let proxy = Proxy::to(server.address()).await;
    let ledger = Ledger::connect(&Postgres::url_at(proxy.address(), &database)).await;
    let service = Service::new(kept, &ledger).await;
    proxy.lose_next_commit(Loss::ArrivesLate);
    let mut answer = service.order(wish).await;
    assert!(proxy.has_lost());
    while answer.0 != 201 {
        assert!([409, 502].contains(&answer.0), "{answer:?}");
        sleep(Duration::from_millis(50)).await;
        answer = service.order(wish).await;
    }
    assert_eq!(answer.1.split(',').next(), Some("order by 1"), "{answer:?}");
    assert_eq!(ledger.rows(wish).await, 1);
}

mod a_step_that_was_dropped_is_not_run_again_by_its_handler {
    async fn at(kept: crate::step_in::Kept) {
        crate::step_in::a_step_is_dropped_while_it_is_committed(kept, "drops").await;
    }
    in_both_places!();
}

mod a_step_that_was_dropped_is_not_run_again_by_the_next_attempt {
    async fn at(kept: crate::step_in::Kept) {
        crate::step_in::a_step_is_dropped_while_it_is_committed(kept, "drops and goes on").await;
    }
    in_both_places!();
}

/// The step is dropped at another moment each time, and then called again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_in_sqlite_that_is_dropped_at_any_moment_runs_once() {
    for kept in [WithTheClaim, InTheJournal] {
        let directory = support::directory::in_memory();
        let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
        let ledger = Ledger::connect(&url).await;
        let service = Service::new(kept, &ledger).await;
        for number in 0..40 {
            service.app.patience.store(50 * number, SeqCst);
            let (status, text) = service.post(Some(&format!("k{number}")), "drops").await;
            assert_eq!(status, 201, "{kept:?} {number}: {text}");
            let expected = i64::try_from(number).expect("a small number") + 1;
            assert_eq!(ledger.rows("drops").await, expected, "{kept:?}, dropped after {number} times 50 µs");
        }
    }
}
