//! What an error tells the client.

use serde_json::Value;

use crate::{
    case::{Case, Finding, Level, Stop},
    http::Answer,
    service::Service,
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "problems/1",
        rule: "Errors are application/problem+json",
        source: "draft-07 §2.7, RFC 9457 §3",
        level: Level::Choice,
        harm: "Each client needs code of its own to read this service's errors.",
        needs: &[],
        cost: (4, 1),
        check: |service| Box::pin(media_type(service)),
    },
    Case {
        id: "problems/2",
        rule: "The type of a problem is a URI, and its status is that of the response",
        source: "RFC 9457 §3.1",
        level: Level::Should,
        harm: "The client cannot decide by the type what to do, and has to guess from the text.",
        needs: &[],
        cost: (4, 1),
        check: |service| Box::pin(members(service)),
    },
    Case {
        id: "problems/3",
        rule: "An error links to documentation",
        source: "draft-07 §2.7",
        level: Level::Should,
        harm: "The developer who reads the error has to search for what to do.",
        needs: &[],
        cost: (4, 1),
        check: |service| Box::pin(link(service)),
    },
    Case {
        id: "problems/4",
        rule: "An error repeats no credential, and shows no stack trace",
        source: "RFC 9457 §5",
        level: Level::Must,
        harm: "Logs and screens that show the error give secrets away.",
        needs: &[],
        cost: (4, 1),
        check: |service| Box::pin(secrets(service)),
    },
];

/// The errors that the service gives because of keys.
async fn errors(service: &Service<'_>) -> Result<Vec<(&'static str, Answer)>, Stop> {
    let operation = service.operation()?;
    let mut errors = vec![
        ("without a key", service.send(&operation.bare).await?),
        ("with two keys", service.send(&operation.with_keys(&[b"one", b"two"])).await?),
    ];
    if service.target.other_body.is_some() {
        let operation = service.operation()?;
        service.send(&operation.request()).await?;
        errors.push(("with other content", service.send(&service.with_other_body(&operation)).await?));
    }
    errors.retain(|(_, answer)| answer.status >= 400);
    Ok(errors)
}

/// The finding on all errors. `wrong` says what is wrong with one of them.
async fn each(service: &Service<'_>, wrong: impl Fn(&Answer) -> Option<String>) -> Result<Finding, Stop> {
    let errors = errors(service).await?;
    if errors.is_empty() {
        return Ok(Finding::NotApplicable("no request that has a wrong key is refused".to_owned()));
    }
    let found = errors.iter().find_map(|(request, answer)| Some((request, answer, wrong(answer)?)));
    Ok(match found {
        None => Finding::Kept(String::new()),
        Some((request, answer, why)) => Finding::Broken(format!("the {} to a request {request} {why}", answer.status)),
    })
}

fn is_problem(answer: &Answer) -> bool {
    answer.text("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/problem+json"))
}

async fn media_type(service: &Service<'_>) -> Result<Finding, Stop> {
    each(service, |answer| {
        let kind = answer.text("content-type").unwrap_or("without a content type");
        (!is_problem(answer)).then(|| format!("is {kind}"))
    })
    .await
}

async fn members(service: &Service<'_>) -> Result<Finding, Stop> {
    let errors = errors(service).await?;
    if !errors.iter().any(|(_, answer)| is_problem(answer)) {
        return Ok(Finding::NotApplicable("no error is application/problem+json".to_owned()));
    }
    each(service, |answer| {
        if !is_problem(answer) {
            return None;
        }
        let Ok(problem) = serde_json::from_slice::<Value>(&answer.body) else { return Some("is not JSON".to_owned()) };
        let kind = problem.get("type").map(|kind| kind.as_str().unwrap_or_default());
        if kind.is_some_and(|kind| kind.is_empty() || kind.contains(' ')) {
            return Some("has a type that is no URI".to_owned());
        }
        let status = problem.get("status").map(Value::as_u64);
        (status.is_some_and(|status| status != Some(answer.status.into())))
            .then(|| "has another status in its body".to_owned())
    })
    .await
}

async fn link(service: &Service<'_>) -> Result<Finding, Stop> {
    each(service, |answer| {
        let in_body = String::from_utf8_lossy(&answer.body);
        let is_linked = answer.header("link").is_some() || in_body.contains("https://") || in_body.contains("http://");
        (!is_linked).then(|| "has no link".to_owned())
    })
    .await
}

/// How stack traces of some languages look.
const STACK_TRACES: [&str; 5] =
    ["\n    at ", "\\n    at ", "<br> &nbsp; &nbsp;at ", "Traceback (most recent call last)", "stack backtrace:"];

async fn secrets(service: &Service<'_>) -> Result<Finding, Stop> {
    let credentials: Vec<&str> = service.target.credentials().filter(|secret| secret.len() > 3).collect();
    each(service, |answer| {
        let body = String::from_utf8_lossy(&answer.body);
        if credentials.iter().any(|secret| body.contains(secret)) {
            return Some("repeats a credential".to_owned());
        }
        STACK_TRACES.iter().any(|trace| body.contains(trace)).then(|| "shows a stack trace".to_owned())
    })
    .await
}
