//! Another request with the key of the first.

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    http::Request,
    json,
    judge::{Second, unclear},
    service::Service,
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "other/1",
        rule: "A request with another value is refused with 422",
        source: "draft-07 §2.7",
        level: Level::Must,
        harm: "A client that reuses a key by mistake is told that its second order was carried out, and it was not.",
        needs: &[Need::OtherBody],
        cost: (2, 1),
        check: |service| Box::pin(value(service)),
    },
    Case {
        id: "other/2",
        rule: "A retry whose members are in another order is not carried out again",
        source: "draft-07 §2.4, RFC 8259 §4",
        level: Level::Must,
        harm: "A client that writes its JSON again for a retry pays twice.",
        needs: &[Need::Json],
        cost: (2, 1),
        check: |service| Box::pin(rewritten(service, json::reordered, "with its members in another order")),
    },
    Case {
        id: "other/3",
        rule: "A retry with other white space is not carried out again",
        source: "draft-07 §2.4, RFC 8259 §2",
        level: Level::Must,
        harm: "A client that writes its JSON again for a retry pays twice.",
        needs: &[Need::Json],
        cost: (2, 1),
        check: |service| Box::pin(rewritten(service, json::spaced, "with other white space")),
    },
    Case {
        id: "other/4",
        rule: "A retry that writes 1 as 1.0 is not carried out again",
        source: "draft-07 §2.4, RFC 8259 §6",
        level: Level::Must,
        harm: "A client in a language without whole numbers pays twice.",
        needs: &[Need::Json],
        cost: (2, 1),
        check: |service| Box::pin(rewritten(service, json::with_fraction, "with a number written as 1.0")),
    },
    Case {
        id: "other/5",
        rule: "A retry that writes an absent member as null is not carried out again",
        source: "draft-07 §2.4",
        level: Level::Must,
        harm: "A client whose library writes optional members only sometimes pays twice.",
        needs: &[Need::Json],
        cost: (2, 1),
        check: |service| Box::pin(rewritten(service, json::with_null, "with one more member, which is null")),
    },
    Case {
        id: "other/6",
        rule: "A request with another query does not get the first response",
        source: "draft-07 §2.4",
        level: Level::Choice,
        harm: "A client that asks for something else by the query gets what it asked for before.",
        needs: &[],
        cost: (2, 2),
        check: |service| Box::pin(query(service)),
    },
    Case {
        id: "other/7",
        rule: "A request with another content type does not get the first response",
        source: "draft-07 §2.4",
        level: Level::Choice,
        harm: "The same bytes in another format are another request, and its sender is told that it was carried out.",
        needs: &[Need::Body],
        cost: (2, 2),
        check: |service| Box::pin(content_type(service)),
    },
    Case {
        id: "other/8",
        rule: "A request to another path does not get the first response",
        source: "draft-07 §5",
        level: Level::Must,
        harm: "A client that uses one key for two endpoints is told that both were carried out.",
        needs: &[Need::OtherUrl],
        cost: (2, 2),
        check: |service| Box::pin(path(service)),
    },
    Case {
        id: "other/9",
        rule: "A request with another method does not get the first response",
        source: "draft-07 §5",
        level: Level::Must,
        harm: "A client that uses one key for two methods is told that both were carried out.",
        needs: &[Need::OtherMethod],
        cost: (2, 2),
        check: |service| Box::pin(method(service)),
    },
    Case {
        id: "other/10",
        rule: "Another caller with the same key does not get the first response",
        source: "draft-07 §5",
        level: Level::Must,
        harm: "Whoever guesses or learns a key reads another customer's response.",
        needs: &[Need::Auth, Need::OtherAuth],
        cost: (2, 2),
        check: |service| Box::pin(caller(service)),
    },
    Case {
        id: "other/11",
        rule: "After another request was refused, a retry of the first still gets its response",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: "One wrong request makes the right one run again.",
        needs: &[Need::OtherBody],
        cost: (3, 1),
        check: |service| Box::pin(after_refusal(service)),
    },
];

async fn value(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let tries = service.tries(&operation.request(), &service.with_other_body(&operation)).await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    let status = tries.second.status;
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("it is carried out, as another operation with the same key".to_owned()),
        Second::Replayed => Finding::Broken("it gets the response to the first request".to_owned()),
        Second::Unclear => Finding::Broken(format!("it gets {status}")),
        Second::Refused if status == 422 => Finding::Kept(String::new()),
        Second::Refused if tries.second.is_refusal() => {
            Finding::Differs(format!("it is refused with {status}, not with 422"))
        }
        Second::Refused => Finding::Differs(format!("it gets {status}")),
    })
}

/// The same value, written in another way: a replay and a refusal are both safe.
async fn rewritten(
    service: &Service<'_>,
    write: fn(&[u8]) -> Option<Vec<u8>>,
    variant: &'static str,
) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let (Some(plain), Some(other)) = (json::plain(operation.bare.body()), write(operation.bare.body())) else {
        return Ok(Finding::NotApplicable("the body has nothing to write so".to_owned()));
    };
    let first = operation.with(|request| request.with_body(plain, "written without white space"));
    let tries = service.tries(&first, &operation.with(|request| request.with_body(other, variant))).await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("it is carried out again".to_owned()),
        Second::Replayed => Finding::Kept("it counts as the same request".to_owned()),
        Second::Refused => Finding::Kept(format!("it counts as another request: {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}

/// A request that differs in something that services need not compare.
async fn differing(service: &Service<'_>, change: impl FnOnce(Request) -> Request) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let tries = service.tries(&operation.request(), &operation.with(change)).await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Kept("it is carried out as another operation".to_owned()),
        Second::Replayed => Finding::Broken("it gets the response to the first request".to_owned()),
        Second::Refused => Finding::Kept(format!("it is refused with {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}

async fn query(service: &Service<'_>) -> Result<Finding, Stop> {
    differing(service, |request| {
        let address = request.address().clone();
        let mark = if address.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}idempotency-check=1", address.path);
        request.to(address.with_path(&path))
    })
    .await
}

async fn content_type(service: &Service<'_>) -> Result<Finding, Stop> {
    differing(service, |request| {
        request.without("content-type").line("Content-Type", "application/x-idempotency-check")
    })
    .await
}

async fn path(service: &Service<'_>) -> Result<Finding, Stop> {
    let Some(url) = &service.target.other_url else { return Ok(unclear()) };
    differing(service, |request| request.to(url.clone())).await
}

async fn method(service: &Service<'_>) -> Result<Finding, Stop> {
    let Some(method) = &service.target.other_method else { return Ok(unclear()) };
    differing(service, |request| request.by(method)).await
}

async fn caller(service: &Service<'_>) -> Result<Finding, Stop> {
    let (operation, header) = (service.operation()?, &service.target.auth_header);
    let other = service.target.other_auth.clone().unwrap_or_default();
    let second = operation.with(|request| request.without(header).line(header, other));
    let tries = service.tries(&operation.request(), &second).await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    Ok(match (tries.second(service), tries.second.status) {
        (Second::Refused, 401 | 403) => Finding::Unseen(format!(
            "the other caller gets {}: --other-auth needs one who may do this",
            tries.second.status
        )),
        (Second::Refused, status) => Finding::Kept(format!("it is refused with {status}")),
        (Second::Ran, _) => Finding::Kept("each caller has its own keys".to_owned()),
        (Second::Replayed, _) => Finding::Broken("the other caller gets the response to the first".to_owned()),
        (Second::Unclear, _) => unclear(),
    })
}

async fn after_refusal(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let before = service.count().await?;
    let first = service.send(&operation.request()).await?;
    let second = service.send(&service.with_other_body(&operation)).await?;
    if service.is_done(&second) {
        return Ok(Finding::NotApplicable("the other request is not refused: see other/1".to_owned()));
    }
    let third = service.send(&operation.request()).await?;
    if !service.is_done(&third) {
        return Ok(Finding::Broken(format!("the retry gets {}", third.status)));
    }
    service.once(&[&first, &third], before).await
}
