//! What a retry gets after the first request has ended.

use std::time::Duration;

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    http::Answer,
    judge::{Second, Tries, unclear},
    service::Service,
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "replay/1",
        rule: "A retry is not carried out again",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: "A client whose connection broke pays twice.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(no_second_run(service)),
    },
    Case {
        id: "replay/2",
        rule: "A retry gets the status of the first response",
        source: "draft-07 §2.6",
        level: Level::Should,
        harm: "The client takes a success for an error, or the other way round.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(status(service)),
    },
    Case {
        id: "replay/3",
        rule: "A retry gets the body of the first response, byte for byte",
        source: "draft-07 §2.6",
        level: Level::Should,
        harm: "The client does not learn the result, such as the id of its order, or a signature over it is wrong.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(body(service)),
    },
    Case {
        id: "replay/4",
        rule: "A retry gets the Location of the first response",
        source: "draft-07 §2.6",
        level: Level::Should,
        harm: "The client does not learn where the new resource is.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(headers(service, &["location"])),
    },
    Case {
        id: "replay/5",
        rule: "A retry gets the content type of the first response",
        source: "draft-07 §2.6",
        level: Level::Should,
        harm: "The client cannot read the response that it got the first time.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(headers(service, &["content-type"])),
    },
    Case {
        id: "replay/6",
        rule: "A retry gets the other headers that describe the result, such as ETag and Link",
        source: "draft-07 §2.6",
        level: Level::Should,
        harm: "The client cannot change the new resource safely, or does not find what belongs to it.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(headers(service, &RESULT)),
    },
    Case {
        id: "replay/7",
        rule: "A header marks a replay, and no first response has it",
        source: "common practice",
        level: Level::Choice,
        harm: "Nobody can tell from a log whether a request was carried out or answered from the store.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(marker(service)),
    },
    Case {
        id: "replay/8",
        rule: "A retry does not get the cookies of the first response",
        source: "RFC 6265 §8.2, common practice",
        level: Level::Should,
        harm: "Whoever repeats a request gets the session that it began.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(not_again(service, |name| name == "set-cookie")),
    },
    Case {
        id: "replay/9",
        rule: "The Date of a retry's response is not that of the first",
        source: "RFC 9110 §6.6.1",
        level: Level::Should,
        harm: "Caches and signatures take a response of today for an old one.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(date(service)),
    },
    Case {
        id: "replay/10",
        rule: "A retry does not get the trace ids, request ids and quotas of the first response",
        source: "common practice",
        level: Level::Should,
        harm: "The client backs off by an old quota, and its log points to another request.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(not_again(service, is_never_replayed)),
    },
    Case {
        id: "replay/11",
        rule: "A retry that another replica receives gets the first response",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: "The operation runs twice as soon as a load balancer sends the retry elsewhere.",
        needs: &[Need::Replica],
        cost: (2, 1),
        check: |service| Box::pin(other_replica(service)),
    },
    Case {
        id: "replay/12",
        rule: "A retry after a restart of the service gets the first response",
        source: "draft-07 §2.6",
        level: Level::Must,
        harm: "Each deploy makes the retries that are on their way run again.",
        needs: &[Need::Restart],
        cost: (2, 1),
        check: |service| Box::pin(after_restart(service)),
    },
];

/// Headers that describe the result, besides `Location` and `Content-Type`.
const RESULT: [&str; 7] = [
    "etag",
    "last-modified",
    "link",
    "content-language",
    "content-location",
    "content-disposition",
    "preference-applied",
];

/// Headers that belong to one exchange: identifiers for logs and traces, and quotas.
fn is_never_replayed(name: &str) -> bool {
    let names =
        ["traceparent", "tracestate", "traceresponse", "trace-id", "request-id", "correlation-id", "server-timing"];
    let parts = ["ratelimit", "rate-limit"];
    names.contains(&name.trim_start_matches("x-")) || parts.iter().any(|part| name.contains(part))
}

async fn no_second_run(service: &Service<'_>) -> Result<Finding, Stop> {
    let request = service.operation()?.request();
    let before = service.count().await?;
    let (first, second) = (service.send(&request).await?, service.send(&request).await?);
    service.once(&[&first, &second], before).await
}

/// The finding on a property of a retry's response. `has_it` compares it with the first response.
async fn compared(
    service: &Service<'_>,
    has_it: impl FnOnce(&Answer, &Answer) -> Result<(), String>,
) -> Result<Finding, Stop> {
    let tries = service.retried().await?;
    Ok(judged(service, &tries, has_it))
}

fn judged(
    service: &Service<'_>,
    tries: &Tries,
    has_it: impl FnOnce(&Answer, &Answer) -> Result<(), String>,
) -> Finding {
    if let Some(finding) = tries.first_failed(service) {
        return finding;
    }
    match (has_it(&tries.first, &tries.second), tries.second(service)) {
        (_, Second::Ran) => Finding::NotApplicable("the retry is carried out again: see replay/1".to_owned()),
        (Err(why), _) => Finding::Broken(why),
        (Ok(()), Second::Unclear) => unclear(),
        (Ok(()), _) => Finding::Kept(String::new()),
    }
}

async fn status(service: &Service<'_>) -> Result<Finding, Stop> {
    compared(service, |first, second| match (first.status, second.status) {
        (one, other) if one == other => Ok(()),
        (one, other) => Err(format!("the first response is {one}, the retry's {other}")),
    })
    .await
}

async fn body(service: &Service<'_>) -> Result<Finding, Stop> {
    compared(service, |first, second| match (&first.body, &second.body) {
        (one, other) if one == other => Ok(()),
        (one, other) if other.is_empty() => Err(format!("{} bytes became none", one.len())),
        (one, other) => {
            let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            Err(format!("the bodies differ from byte {} on", at + 1))
        }
    })
    .await
}

async fn headers(service: &Service<'_>, names: &[&str]) -> Result<Finding, Stop> {
    let tries = service.retried().await?;
    let present: Vec<&&str> = names.iter().filter(|name| tries.first.header(name).is_some()).collect();
    if present.is_empty() {
        let what = if names.len() == 1 { names.join("") } else { "such header".to_owned() };
        return Ok(Finding::NotApplicable(format!("the first response has no {what}")));
    }
    Ok(judged(service, &tries, |first, second| {
        for name in present {
            if first.header(name) != second.header(name) {
                let what = if second.header(name).is_none() { "is missing" } else { "has another value" };
                return Err(format!("{name} {what}"));
            }
        }
        Ok(())
    }))
}

async fn marker(service: &Service<'_>) -> Result<Finding, Stop> {
    let tries = service.retried().await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    if tries.second(service) == Second::Ran {
        return Ok(Finding::NotApplicable("the retry is carried out again: see replay/1".to_owned()));
    }
    Ok(match service.marker(&tries.second) {
        Some(marker) => Finding::Kept(marker),
        None => Finding::Broken("a replay looks like a first response".to_owned()),
    })
}

/// Headers that differ from response to response, and must not be those of the first time.
async fn not_again(service: &Service<'_>, is_meant: fn(&str) -> bool) -> Result<Finding, Stop> {
    let tries = service.retried().await?;
    // A value that two operations share is not of one exchange.
    let is_constant = |line: &&(String, Vec<u8>)| service.normal.fresh.iter().any(|fresh| fresh.headers.contains(line));
    let own: Vec<_> =
        tries.first.headers.iter().filter(|(name, _)| is_meant(name)).filter(|line| !is_constant(line)).collect();
    if own.is_empty() {
        return Ok(Finding::NotApplicable("no first response has such a header with its own value".to_owned()));
    }
    Ok(judged(service, &tries, |_, second| match own.iter().find(|line| second.headers.contains(line)) {
        Some((name, _)) => Err(format!("the retry gets the {name} of the first response")),
        None => Ok(()),
    }))
}

async fn date(service: &Service<'_>) -> Result<Finding, Stop> {
    let request = service.operation()?.request();
    let before = service.count().await?;
    let first = service.send(&request).await?;
    let Some(date) = first.header("date").map(<[u8]>::to_vec) else {
        return Ok(Finding::NotApplicable("the response has no Date".to_owned()));
    };
    // A date has a resolution of one second.
    service.wait(Duration::from_millis(1100)).await?;
    let second = service.send(&request).await?;
    let tries = Tries { first, second, runs: service.runs_since(before).await? };
    Ok(judged(service, &tries, |_, second| {
        if second.headers.iter().any(|(name, value)| name == "date" && *value == date) {
            Err("it is".to_owned())
        } else {
            Ok(())
        }
    }))
}

async fn other_replica(service: &Service<'_>) -> Result<Finding, Stop> {
    for replica in &service.target.replicas {
        let request = service.operation()?.request();
        let before = service.count().await?;
        let first = service.send(&request).await?;
        let second = service.send(&request.clone().to(replica.clone())).await?;
        let finding = same(service, &first, &second, before).await?;
        if !matches!(finding, Finding::Kept(_)) {
            return Ok(finding);
        }
    }
    Ok(Finding::Kept(String::new()))
}

async fn after_restart(service: &Service<'_>) -> Result<Finding, Stop> {
    let Some(command) = &service.target.restart else { return Ok(unclear()) };
    let request = service.operation()?.request();
    let before = service.count().await?;
    let first = service.send(&request).await?;
    service.restart(command).await?;
    let second = service.settled(&request).await?;
    same(service, &first, &second, before).await
}

/// One run, which both requests are told of.
async fn same(service: &Service<'_>, first: &Answer, second: &Answer, before: Option<i64>) -> Result<Finding, Stop> {
    let finding = service.once(&[first, second], before).await?;
    let is_refused = matches!(finding, Finding::Kept(_) | Finding::Unseen(_)) && !service.is_done(second);
    Ok(if is_refused { Finding::Failed(format!("the retry gets {}", second.status)) } else { finding })
}
