//! What an operation came to.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use idempotent_runtime::{Idempotency, Outcome, RunError};
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Service;

#[tokio::test]
async fn the_first_call_runs_and_every_other_gets_its_result() {
    let service = Service::new();
    assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Ran(1));
    assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Replayed(1));
    assert_eq!(service.count(service.operation("m2")).await.unwrap(), Outcome::Ran(2));
}

#[tokio::test]
async fn of_a_hundred_calls_at_once_one_runs() {
    let service = Service::new();
    let calls = (0..100).map(|_| {
        let service = service.clone();
        tokio::spawn(async move {
            let operation = service.operation("m1").wait(Duration::from_secs(10));
            service.count(operation).await.unwrap()
        })
    });
    let outcomes = futures_util::future::try_join_all(calls).await.unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Ran(1)).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Replayed(1)).count(), 99);
    assert_eq!(service.runs(), 1);
}

#[tokio::test]
async fn a_call_beside_a_running_one_is_told_how_long_its_lease_is() {
    let service = Service::new();
    let (release, released) = oneshot::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let first = service.operation("m1").lease(Duration::from_secs(20)).run(async move |_| {
        let _ = started.send(());
        released.await.map(|()| 7)
    });
    let second = async {
        has_started.await.unwrap();
        let outcome = service.count(service.operation("m1")).await.unwrap();
        release.send(()).unwrap();
        outcome
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), Outcome::Ran(7));
    let Outcome::Running { left } = second else { panic!("{second:?}") };
    assert!(left > Duration::from_secs(10) && left <= Duration::from_secs(20), "{left:?}");
    assert_eq!(service.runs(), 0);
}

#[tokio::test]
async fn a_key_with_other_content_is_reused_and_another_scope_or_name_is_another_key() {
    let service = Service::new();
    let of = |content: &str| service.operation("m1").fingerprint(content);
    assert_eq!(service.count(of("a")).await.unwrap(), Outcome::Ran(1));
    assert_eq!(service.count(of("a")).await.unwrap(), Outcome::Replayed(1));
    assert_eq!(service.count(of("b")).await.unwrap(), Outcome::KeyReused);
    assert_eq!(service.count(of("b").scope("globex")).await.unwrap(), Outcome::Ran(2));
    let other = service.idempotency.operation("orders.cancelled").key("m1");
    assert_eq!(service.count(other).await.unwrap(), Outcome::Ran(3));
}

#[tokio::test]
async fn an_error_of_the_effect_frees_the_key() {
    let service = Service::new();
    let failed = service.operation("m1").run(async |_| Err::<u8, _>("no money")).await;
    let Err(RunError::Effect(error)) = &failed else { panic!("{failed:?}") };
    assert_eq!(*error, "no money");
    assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Ran(1));
}

#[tokio::test]
async fn a_refusal_that_is_part_of_the_value_is_replayed() {
    let service = Service::new();
    let runs = || {
        let runs = Arc::clone(&service.runs);
        service.operation("m1").run(async move |_| {
            runs.fetch_add(1, SeqCst);
            Ok::<Result<u8, String>, Infallible>(Err("declined".to_owned()))
        })
    };
    assert_eq!(runs().await.unwrap(), Outcome::Ran(Err("declined".to_owned())));
    assert_eq!(runs().await.unwrap(), Outcome::Replayed(Err("declined".to_owned())));
    assert_eq!(service.runs(), 1);
}

#[derive(Debug, thiserror::Error)]
#[error("the provider said no")]
struct Refused(#[source] std::num::ParseIntError);

#[tokio::test]
async fn an_error_of_the_effect_is_shown_as_it_is_and_keeps_its_causes() {
    let service = Service::new();
    let run = || service.operation("m1").run(async |_| "x".parse::<u8>().map_err(Refused));
    let error: Box<dyn Error> = run().await.unwrap_err().into();
    assert_eq!(error.to_string(), "the provider said no");
    assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
    let Refused(_) = run().await.unwrap_err().into_effect().unwrap();
    // Another reason is an error for any type.
    let run = service.operation("").run(async |_| Ok::<u8, String>(1)).await;
    let reason: Box<dyn Error> = run.unwrap_err().into_effect().unwrap_err().into();
    assert_eq!(reason.to_string(), "the operation's key is empty");
}

/// A value that cannot be serialized.
struct Refusing;

impl Serialize for Refusing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not today"))
    }
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_happens() {
    let service = Service::new();
    for blank in ["", " ", "\t\n"] {
        let empty = service.count(service.operation(blank)).await;
        assert!(matches!(empty, Err(RunError::KeyEmpty)), "{empty:?}");
    }
    for nobody in [Uuid::nil(), Uuid::max()].map(|uuid| uuid.simple().to_string()) {
        let nil = service.count(service.operation(&nobody)).await;
        assert!(matches!(nil, Err(RunError::KeyNil)), "{nil:?}");
    }
    let operation = service.operation("m1").lease(Duration::from_secs(30));
    let late = service.count(operation.redelivered_after(Duration::from_secs(30))).await;
    assert!(matches!(late, Err(RunError::LeaseTooLong { .. })), "{late:?}");
    let refused = service.count(service.operation("m1").fingerprint(&Refusing)).await;
    assert!(matches!(refused, Err(RunError::Fingerprint(_))), "{refused:?}");
    assert_eq!(service.runs(), 0);
    let operation = service.operation("m1").lease(Duration::from_secs(10));
    assert_eq!(service.count(operation.redelivered_after(Duration::from_secs(30))).await.unwrap(), Outcome::Ran(1));
}

#[tokio::test]
async fn a_disabled_service_runs_every_call() {
    let service = Service::over(Idempotency::disabled());
    for run in 1..4 {
        assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Ran(run));
    }
}

#[tokio::test]
async fn a_store_that_is_down_or_full_runs_nothing() {
    let down = idempotent_runtime::RedisStore::builder().lazy();
    let full = idempotent_runtime::MemoryStore::builder().max_records(0).build();
    let service = Service::over(Idempotency::new(full));
    let refused = service.count(service.operation("m1")).await;
    assert!(matches!(refused, Err(RunError::StoreFull)), "{refused:?}");
    let store = down.connect("redis://127.0.0.1:1/").await.unwrap();
    let service = Service::over(Idempotency::new(store));
    let refused = service.count(service.operation("m1")).await;
    assert!(matches!(refused, Err(RunError::StoreUnavailable)), "{refused:?}");
    assert_eq!(service.runs(), 0);
}
