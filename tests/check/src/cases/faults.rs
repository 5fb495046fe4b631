//! What networks and clients do: they break off, they are slow, they send twice.

use std::time::Duration;

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    http::Cut,
    service::Service,
};

const ONCE: &str = "A client whose connection broke pays twice.";
const NEVER: &str = "A client whose connection broke cannot get its order carried out.";

pub(super) const CASES: &[Case] = &[
    Case {
        id: "faults/1",
        rule: "After a request that broke off before its body, a retry is carried out",
        source: "RFC 9112 §8",
        level: Level::Must,
        harm: NEVER,
        needs: &[Need::Body],
        cost: (2, 1),
        check: |service| Box::pin(cut(service, Cut::BeforeBody)),
    },
    Case {
        id: "faults/2",
        rule: "A request that broke off within its body is not carried out, and a retry is",
        source: "RFC 9112 §8",
        level: Level::Must,
        harm: "Half an order is carried out, or the whole one never.",
        needs: &[Need::Body],
        cost: (2, 1),
        check: |service| Box::pin(cut(service, Cut::InBody)),
    },
    Case {
        id: "faults/3",
        rule: "A request whose client left after the body is carried out once with its retries",
        source: "draft-07 §1",
        level: Level::Must,
        harm: ONCE,
        needs: &[],
        cost: (3, 1),
        check: |service| Box::pin(cut(service, Cut::AfterBody)),
    },
    Case {
        id: "faults/4",
        rule: "A request whose response was lost on its way is carried out once with its retries",
        source: "draft-07 §1",
        level: Level::Must,
        harm: ONCE,
        needs: &[],
        cost: (3, 1),
        check: |service| Box::pin(cut(service, Cut::InResponse)),
    },
    Case {
        id: "faults/5",
        rule: "A request whose client left while it ran is carried out once with its retries",
        source: "draft-07 §1",
        level: Level::Must,
        harm: "A client with a short time-out pays twice, or is locked out.",
        needs: &[Need::Slow],
        cost: (6, 1),
        check: |service| Box::pin(cut(service, Cut::While(Duration::from_millis(150)))),
    },
    Case {
        id: "faults/6",
        rule: "While a body arrives slowly, the same request on another connection does not run twice",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: "A client on a slow network that tries again pays twice.",
        needs: &[Need::Body],
        cost: (3, 1),
        check: |service| Box::pin(slow_body(service)),
    },
    Case {
        id: "faults/7",
        rule: "The same request twice on one connection is carried out once",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: ONCE,
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(one_connection(service)),
    },
];

async fn cut(service: &Service<'_>, cut: Cut) -> Result<Finding, Stop> {
    let slow = service.target.slow.as_ref().filter(|_| matches!(cut, Cut::While(_)));
    let operation = service.operation_with(slow)?;
    let before = service.count().await?;
    service.send_and_cut(&operation.request(), cut).await?;
    // The service sees the end of the connection first, as it does when a client tries again later.
    service.wait(Duration::from_millis(50)).await?;
    if matches!(cut, Cut::BeforeBody | Cut::InBody) && service.runs_since(before).await?.is_some_and(|runs| runs > 0) {
        return Ok(Finding::Broken("it is carried out without its whole body".to_owned()));
    }
    let retry = service.settled(&operation.request()).await?;
    let finding = service.once(&[&retry], before).await?;
    let is_lost = matches!(finding, Finding::Kept(_) | Finding::Unseen(_)) && !service.is_done(&retry);
    Ok(if is_lost { Finding::Broken(format!("the retry gets {}", retry.status)) } else { finding })
}

async fn slow_body(service: &Service<'_>) -> Result<Finding, Stop> {
    let request = service.operation()?.request();
    let before = service.count().await?;
    let (slow, other) = service.send_slowly_beside(&request, Duration::from_millis(100), &request).await?;
    let retry = service.settled(&request).await?;
    service.once(&[&slow, &other, &retry], before).await
}

async fn one_connection(service: &Service<'_>) -> Result<Finding, Stop> {
    let request = service.operation()?.request();
    let before = service.count().await?;
    let answers = service.send_in_turn(&[&request, &request]).await?;
    service.once(&answers.iter().collect::<Vec<_>>(), before).await
}
