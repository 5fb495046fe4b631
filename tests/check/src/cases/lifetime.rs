//! How long a response is kept.

use std::time::Duration;

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    judge::{Second, Tries, unclear},
    service::Service,
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "lifetime/1",
        rule: "A retry in the last part of the lifetime gets the first response",
        source: "draft-07 §2.3",
        level: Level::Must,
        harm: "A client that relies on the published lifetime pays twice.",
        needs: &[Need::Expires],
        cost: (2, 1),
        check: |service| Box::pin(before_the_end(service)),
    },
    Case {
        id: "lifetime/2",
        rule: "After the lifetime the key is free again, or is refused",
        source: "draft-07 §2.3",
        level: Level::Choice,
        harm: "Responses are kept for longer than the service says, with the personal data in them.",
        needs: &[Need::Expires],
        cost: (2, 2),
        check: |service| Box::pin(after_the_end(service)),
    },
];

async fn later(service: &Service<'_>, wait: Duration) -> Result<Tries, Stop> {
    let request = service.operation()?.request();
    let before = service.count().await?;
    let first = service.send(&request).await?;
    service.wait(wait).await?;
    let second = service.send(&request).await?;
    Ok(Tries { first, second, runs: service.runs_since(before).await? })
}

async fn before_the_end(service: &Service<'_>) -> Result<Finding, Stop> {
    let lifetime = service.target.expires.unwrap_or_default();
    let tries = later(service, lifetime * 7 / 10).await?;
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("it is carried out again".to_owned()),
        Second::Replayed => Finding::Kept(String::new()),
        Second::Refused => Finding::Broken(format!("it gets {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}

async fn after_the_end(service: &Service<'_>) -> Result<Finding, Stop> {
    let lifetime = service.target.expires.unwrap_or_default();
    let tries = later(service, lifetime + lifetime / 10 + Duration::from_millis(200)).await?;
    Ok(match tries.second(service) {
        Second::Ran => Finding::Kept("it is free".to_owned()),
        Second::Replayed => Finding::Broken("it gets the first response".to_owned()),
        Second::Refused => Finding::Kept(format!("it is refused with {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}
