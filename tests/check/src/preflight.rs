//! Looks at the service before the first case: the request must work, and the count of effects must follow it.

use crate::{
    case::{EFFECTS, Stop},
    http::Answer,
    service::{Normal, Service},
    target::Effects,
};

/// How many requests it sends, and how many of them are carried out.
pub(crate) const COST: (u32, u32) = (3, 2);

/// Sends two operations and a retry, and remembers how the service answers. The error says why no case can be run.
pub(crate) async fn look(service: &mut Service<'_>) -> Result<(), String> {
    let why = |stop: Stop| match stop {
        Stop::NoAnswer(error) => format!("the service {error}"),
        Stop::Limit(why) | Stop::Unusable(why) => why,
    };
    let before = service.count().await.map_err(why)?;
    let first = service.operation().map_err(why)?.request();
    let one = service.send(&first).await.map_err(why)?;
    accepted(service, &one)?;
    let after = count_after(service).await.map_err(why)?;
    let unit = match (before, after) {
        (Some(before), Some(after)) if after != before => Some(after - before),
        (Some(_), Some(_)) => {
            return Err(format!(
                "the request gets {}, but the count of {} did not change. It has to count what the request does; if it \
                 follows late, give --settle",
                one.status,
                match service.target.effects {
                    Effects::By { .. } => "--effects-command",
                    _ => "--effects",
                }
            ));
        }
        _ => None,
    };
    let retry = service.send(&first).await.map_err(why)?;
    let second = service.operation().map_err(why)?.request();
    let other = service.send(&second).await.map_err(why)?;
    if accepted(service, &other).is_err() {
        return Err(format!(
            "the request gets {}, and the same request with another key gets {}. If a value may be used only once, write \
             {{{{unique}}}} in its place",
            one.status, other.status
        ));
    }
    service.normal = Normal { fresh: vec![one, other], retry: Some(retry), unit };
    service.take_sent();
    Ok(())
}

async fn count_after(service: &Service<'_>) -> Result<Option<i64>, Stop> {
    tokio::time::sleep(service.target.settle).await;
    service.count().await
}

/// Whether the service carried the request out. The error says what to do about it.
fn accepted(service: &Service<'_>, answer: &Answer) -> Result<(), String> {
    let status = answer.status;
    if answer.is_success() || status == 303 {
        return Ok(());
    }
    let location = answer.text("location").unwrap_or("nowhere");
    let page = if answer.is_html() { ", with an HTML page" } else { "" };
    let target = service.target;
    let hint = match status {
        300..400 => format!("It redirects to {location}: give that URL"),
        401 | 403 if target.auth.is_none() => "Give --auth".to_owned(),
        401 | 403 => format!("The service does not accept --auth in the header {}", target.auth_header),
        404 => "Is the URL right?".to_owned(),
        405 => format!("Is the method {} right? --method gives another", target.method),
        415 => format!("Is the content type {} right? --content-type gives another", target.content_type),
        400 | 422 if target.body.is_empty() => "Give a body that the service accepts: --body".to_owned(),
        400..500 => {
            "Each case needs a request that the service accepts: see --body, --header, --key-header and --key-format"
                .to_owned()
        }
        _ => "Each case needs a request that succeeds".to_owned(),
    };
    Err(format!("the request with a new key gets {status}{page}. {hint}"))
}

/// What the user should know before the first request.
pub(crate) fn warnings(service: &Service<'_>) -> Vec<String> {
    let target = service.target;
    let mut warnings = Vec::new();
    if let Ok(address) = target.address()
        && !address.is_local()
    {
        warnings.push(format!("{} is not on this machine. What the requests do there is real.", address.authority()));
    }
    if matches!(target.effects, Effects::Unknown) {
        warnings.push(format!("Without {EFFECTS} the check cannot see how often a request was carried out."));
    }
    warnings
}
