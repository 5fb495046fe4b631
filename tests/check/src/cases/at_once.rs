//! The same request many times at once.

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    http::Answer,
    service::{Operation, Service},
};

const HARM: &str = "A double click, or a client whose time-out is shorter than the work, pays twice.";

const fn burst(id: &'static str, rule: &'static str, cost: (u32, u32), check: crate::case::Check) -> Case {
    Case { id, rule, source: "draft-07 §2.6", level: Level::Must, harm: HARM, needs: &[], cost, check }
}

pub(super) const CASES: &[Case] = &[
    burst("at-once/1", "Of 2 requests on 2 connections, one is carried out", (4, 1), |s| Box::pin(once(s, 2, false))),
    burst("at-once/2", "Of 20 requests on 20 connections, one is carried out", (22, 1), |s| {
        Box::pin(once(s, 20, false))
    }),
    burst("at-once/3", "Of 100 requests on 100 connections, one is carried out", (102, 1), |s| {
        Box::pin(once(s, 100, false))
    }),
    burst("at-once/4", "Of 2 requests at once on one connection, one is carried out", (4, 1), |s| {
        Box::pin(once(s, 2, true))
    }),
    burst("at-once/5", "Of 20 requests at once on one connection, one is carried out", (22, 1), |s| {
        Box::pin(once(s, 20, true))
    }),
    burst("at-once/6", "Of 100 requests at once on one connection, one is carried out", (102, 1), |s| {
        Box::pin(once(s, 100, true))
    }),
    Case {
        id: "at-once/7",
        rule: "A duplicate gets 409 with Retry-After, or waits for the response",
        source: "draft-07 §2.6 and §2.7, RFC 9110 §10.2.3",
        level: Level::Should,
        harm: "The client does not know whether to try again, or when, and reports an error for what succeeded.",
        needs: &[],
        cost: (22, 1),
        check: |service| Box::pin(duplicates(service)),
    },
    Case {
        id: "at-once/8",
        rule: "A request with other content is refused while the first runs",
        source: "draft-07 §2.7",
        level: Level::Must,
        harm: "A client that reuses a key by mistake is told that its second order was carried out, and it was not.",
        needs: &[Need::Slow, Need::OtherBody],
        cost: (2, 1),
        check: |service| Box::pin(other_content(service)),
    },
];

async fn once(service: &Service<'_>, count: usize, on_one_connection: bool) -> Result<Finding, Stop> {
    let operation = service.operation_with(service.target.slow.as_ref())?;
    let before = service.count().await?;
    let answers = service.send_at_once(&operation.request(), count, on_one_connection).await?;
    let retry = service.settled(&operation.request()).await?;
    let answers: Vec<&Answer> = answers.iter().chain([&retry]).collect();
    let finding = service.once(&answers, before).await?;
    Ok(match finding {
        Finding::Kept(_) | Finding::Unseen(_) if !service.is_done(&retry) => {
            Finding::Failed(format!("afterwards a retry gets {} instead of the response", retry.status))
        }
        finding => finding,
    })
}

/// One that runs for a while, if the user said how. Otherwise twenty at once.
async fn duplicates(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation_with(service.target.slow.as_ref())?;
    let before = service.count().await?;
    let answers = if service.target.slow.is_some() {
        beside(service, &operation).await?
    } else {
        service.send_at_once(&operation.request(), 20, false).await?
    };
    let finding = service.once(&answers.iter().collect::<Vec<_>>(), before).await?;
    let others: Vec<&Answer> = answers.iter().filter(|answer| !service.is_done(answer)).collect();
    if let Some(wrong) = others.iter().find(|answer| answer.status != 409) {
        return Ok(Finding::Broken(format!("a duplicate gets {}", wrong.status)));
    }
    if others.iter().any(|answer| answer.header("retry-after").is_none()) {
        return Ok(Finding::Broken("a duplicate gets 409 without Retry-After".to_owned()));
    }
    Ok(match (others.is_empty(), service.target.slow.is_some()) {
        (false, _) => Finding::Kept("409 with Retry-After".to_owned()),
        (true, _) if matches!(finding, Finding::Failed(_)) => {
            Finding::NotApplicable("duplicates are carried out: see at-once/1".to_owned())
        }
        (true, true) => Finding::Kept("it waits".to_owned()),
        (true, false) => Finding::Unseen("no two ran at the same time: give --slow".to_owned()),
    })
}

async fn beside(service: &Service<'_>, operation: &Operation) -> Result<Vec<Answer>, Stop> {
    let request = operation.request();
    let (first, second) = service.send_beside(&request, &request).await?;
    Ok(vec![first, second])
}

async fn other_content(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation_with(service.target.slow.as_ref())?;
    let before = service.count().await?;
    let other = service.with_other_body(&operation);
    let other =
        service.target.slow.iter().fold(other, |request, (name, value)| request.without(name).line(name, value));
    let (first, second) = service.send_beside(&operation.request(), &other).await?;
    let runs = service.runs_since(before).await?;
    // On a busy machine the other request may be the first.
    let refused = match (service.is_done(&first), service.is_done(&second)) {
        (true, true) => return Ok(Finding::Broken("both are answered as done".to_owned())),
        (false, false) => return Ok(Finding::Broken(format!("they get {} and {}", first.status, second.status))),
        (true, false) => second.status,
        (false, true) => first.status,
    };
    Ok(match (runs, refused) {
        (Some(2..), _) => Finding::Broken(format!("it is refused with {refused}, and is carried out as well")),
        (_, 409 | 422) => Finding::Kept(format!("it is refused with {refused}")),
        (_, status) => Finding::Differs(format!("it gets {status}")),
    })
}
