//! Results that cannot be kept, or not be read.

use std::{collections::HashMap, convert::Infallible};

use idempotent_runtime::{Idempotency, MemoryStore, Outcome, RunError};

use super::Service;

type Unwritable = HashMap<(u8, u8), u8>;

#[tokio::test]
async fn a_result_that_is_no_json_is_returned_once_and_its_effect_never_runs_again() {
    let service = Service::new();
    let run = || {
        let runs = service.runs.clone();
        service.operation("m1").run(async move |_| {
            runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, Infallible>(Unwritable::from([((1, 2), 3)]))
        })
    };
    assert!(matches!(run().await.unwrap(), Outcome::Ran(_)));
    assert_eq!(run().await.unwrap(), Outcome::RanWithoutValue);
    assert_eq!(service.runs(), 1);
}

#[tokio::test]
async fn a_result_over_the_limit_is_returned_once_and_its_effect_never_runs_again() {
    let service = Service::over(Idempotency::builder(MemoryStore::new()).max_response(1_000).build());
    let run = || {
        let runs = service.runs.clone();
        service.operation("m1").run(async move |_| {
            runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, Infallible>("x".repeat(1_001))
        })
    };
    assert!(matches!(run().await.unwrap(), Outcome::Ran(_)));
    assert_eq!(run().await.unwrap(), Outcome::RanWithoutValue);
    assert_eq!(service.runs(), 1);
}

#[tokio::test]
async fn a_result_of_another_type_is_an_error_and_no_second_run() {
    let service = Service::new();
    assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Ran(1));
    let other = service.operation("m1").run(async |_| -> Result<String, Infallible> { panic!("it ran") }).await;
    assert!(matches!(other, Err(RunError::OtherType(_))), "{other:?}");
}
