//! A cluster client repeats a command that got no answer, and does not report it. The repeated command finds the effect
//! of the first one. The store must not take that effect for another attempt's.

use super::{Line, abandon_once, claim_once, complete_once, release_once, renew_once, take_over_once};

#[tokio::test]
async fn a_claim_meets_itself() {
    claim_once(Line::to_a_cluster().await).await;
}

#[tokio::test]
async fn a_takeover_meets_itself() {
    take_over_once(Line::to_a_cluster().await).await;
}

#[tokio::test]
async fn a_completion_meets_itself() {
    complete_once(Line::to_a_cluster().await).await;
}

#[tokio::test]
async fn a_renewal_meets_itself() {
    renew_once(Line::to_a_cluster().await).await;
}

#[tokio::test]
async fn a_release_meets_a_free_key() {
    release_once(Line::to_a_cluster().await).await;
}

#[tokio::test]
async fn an_abandoned_lease_stays_abandoned() {
    abandon_once(Line::to_a_cluster().await).await;
}
