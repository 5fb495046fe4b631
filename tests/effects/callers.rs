//! Callers that do not wait for the end: a time limit, a consumer that stops.

use std::{future::pending, time::Duration};

use idempotent_runtime::{Claim, Outcome};
use tokio::{sync::oneshot, time::timeout};

use super::Service;

#[tokio::test(start_paused = true)]
async fn an_operation_whose_caller_is_gone_goes_on_and_its_result_is_replayed() {
    let service = Service::new();
    let slow = service.operation("m1").run(async |_| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, std::convert::Infallible>(7)
    });
    assert!(timeout(Duration::from_secs(1), slow).await.is_err());
    assert!(matches!(service.count(service.operation("m1")).await.unwrap(), Outcome::Running { .. }));
    service.idempotency.drain().await;
    assert_eq!(service.count(service.operation("m1")).await.unwrap(), Outcome::Replayed(7));
    assert_eq!(service.runs(), 0);
}

#[tokio::test]
async fn an_operation_that_stops_with_its_caller_leaves_a_recovering_key_at_once() {
    let service = Service::new();
    let (started, has_started) = oneshot::channel();
    let (dropped, was_dropped) = oneshot::channel::<()>();
    let stopped = service.operation("m1").cancel_with_caller().run(async move |_| {
        let _alive = dropped;
        let _ = started.send(());
        pending::<Result<usize, std::convert::Infallible>>().await
    });
    tokio::select! {
        outcome = stopped => panic!("{outcome:?}"),
        started = has_started => started.unwrap(),
    }
    assert!(was_dropped.await.is_err(), "the effect goes on");
    service.idempotency.drain().await;
    let next = service.operation("m1").run(async |claim: Claim| Ok::<_, std::convert::Infallible>(claim.recovering()));
    assert_eq!(next.await.unwrap(), Outcome::Ran(true));
}
