//! Attempts that end without a result.

use std::{convert::Infallible, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use idempotent_runtime::{Claim, Outcome, StepError, Takeover};

use super::Service;

/// Runs an effect that panics after it has saved a step.
async fn die(service: &Service) {
    let dead = service.operation("m1").run(async |claim: Claim| -> Result<usize, StepError<Infallible>> {
        claim.step("charge", async || Ok(41)).await?;
        panic!("on purpose");
    });
    assert!(AssertUnwindSafe(dead).catch_unwind().await.is_err());
}

#[tokio::test]
async fn the_next_attempt_after_a_panic_is_recovering_and_has_the_steps() {
    let service = Service::new();
    die(&service).await;
    let next = service.operation("m1").run(async |claim: Claim| {
        assert!(claim.recovering());
        let charge: i32 = claim.step("charge", async || Ok::<_, Infallible>(99)).await?;
        Ok::<_, StepError<Infallible>>(charge + 1)
    });
    assert_eq!(next.await.unwrap(), Outcome::Ran(42));
}

#[tokio::test]
async fn a_dead_attempt_is_not_run_again_where_the_caller_refuses() {
    let service = Service::new();
    die(&service).await;
    let next = service.count(service.operation("m1").takeover(Takeover::Refuse)).await.unwrap();
    assert_eq!(next, Outcome::Died);
    assert_eq!(service.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_effect_of_five_leases_runs_once() {
    let service = Service::new();
    let lease = Duration::from_secs(1);
    let slow = service.operation("m1").lease(lease).run(async move |_| {
        tokio::time::sleep(5 * lease).await;
        Ok::<_, Infallible>(7)
    });
    let other = async {
        for _ in 0..9 {
            tokio::time::sleep(lease / 2).await;
            let outcome = service.count(service.operation("m1").lease(lease)).await.unwrap();
            assert!(matches!(outcome, Outcome::Running { .. }), "{outcome:?}");
        }
    };
    let (slow, ()) = tokio::join!(slow, other);
    assert_eq!(slow.unwrap(), Outcome::Ran(7));
    assert_eq!(service.runs(), 0);
}
