//! A cluster client repeats what it got no answer to, without a word: the repeat meets what the first one did, and must
//! not take it for another's.

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
