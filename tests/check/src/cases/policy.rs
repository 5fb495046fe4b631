//! Which responses are final.

use crate::{
    case::{Case, Finding, Level, Need, Stop},
    service::{Operation, Service},
    target::{Line, filled},
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "policy/1",
        rule: "After an invalid request, the corrected one is carried out with the same key",
        source: "draft-07 §2.7",
        level: Level::Choice,
        harm: "The client has to make a new key for the order that its user has just corrected.",
        needs: &[Need::Body],
        cost: (2, 1),
        check: |service| Box::pin(corrected(service)),
    },
    Case {
        id: "policy/2",
        rule: "After a 401, the same request is carried out once the client has logged in",
        source: "draft-07 §2.7, RFC 9110 §15.5.2",
        level: Level::Must,
        harm: "The client logs in and still gets the old 401, for as long as the key is kept.",
        needs: &[Need::Auth],
        cost: (2, 1),
        check: |service| Box::pin(logged_in(service)),
    },
    Case {
        id: "policy/3",
        rule: "After a 429, a retry is carried out",
        source: "RFC 6585 §4",
        level: Level::Must,
        harm: "The client waits as it was told, and gets the old 429 again.",
        needs: &[Need::Limited],
        cost: (2, 1),
        check: |service| Box::pin(without_fault(service, service.target.limited.as_ref())),
    },
    Case {
        id: "policy/4",
        rule: "After a 5xx, a retry is carried out",
        source: "draft-07 §2.7",
        level: Level::Choice,
        harm: "A fault of a second makes the operation fail until its user asks for it again with a new key.",
        needs: &[Need::Failing],
        cost: (2, 1),
        check: |service| Box::pin(without_fault(service, service.target.failing.as_ref())),
    },
];

/// Sends a request that fails and then one that does not, with the same key.
async fn then(service: &Service<'_>, failing: crate::http::Request, operation: &Operation) -> Result<Finding, Stop> {
    let before = service.count().await?;
    let first = service.send(&failing).await?;
    if service.is_done(&first) {
        return Ok(Finding::NotApplicable(format!("the request that should fail gets {}", first.status)));
    }
    let second = service.send(&operation.request()).await?;
    let runs = service.runs_since(before).await?;
    Ok(match (runs, second.status) {
        (Some(2..), _) => Finding::Failed("it was carried out twice".to_owned()),
        (Some(1), _) if !service.is_done(&first) && service.is_done(&second) => {
            Finding::Kept(format!("after {}", first.status))
        }
        (Some(0), _) if service.is_done(&second) => {
            Finding::Failed("it was answered as done, and was not carried out".to_owned())
        }
        (None, _) if service.is_done(&second) => Finding::Kept(format!("after {}", first.status)),
        (_, status) if status == first.status => Finding::Broken(format!("it gets {status} again")),
        (_, status) => Finding::Broken(format!("after {} it gets {status}", first.status)),
    })
}

async fn corrected(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let invalid = service.target.invalid.as_deref().unwrap_or("{\"");
    let invalid = filled(invalid, &operation.unique);
    let invalid = operation.with(|request| request.with_body(invalid, "that is invalid"));
    then(service, invalid, &operation).await
}

async fn logged_in(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let anonymous = operation.with(|request| request.without(&service.target.auth_header));
    then(service, anonymous, &operation).await
}

async fn without_fault(service: &Service<'_>, fault: Option<&Line>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let failing =
        operation.with(|request| fault.iter().fold(request, |request, (name, value)| request.line(name, value)));
    then(service, failing, &operation).await
}
