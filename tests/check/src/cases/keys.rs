//! What may be a key.

use crate::{
    case::{Case, Finding, Level, Stop},
    http::Answer,
    judge::{Second, unclear},
    service::Service,
};

pub(super) const CASES: &[Case] = &[
    Case {
        id: "keys/1",
        rule: "A request without a key is refused with 400",
        source: "draft-07 §2.7",
        // Only a service that requires the header is to refuse.
        level: Level::Choice,
        harm: "A client that forgets the header gets no error, and its first retry is carried out again.",
        needs: &[],
        cost: (1, 0),
        check: |service| Box::pin(missing(service)),
    },
    Case {
        id: "keys/2",
        rule: "An empty key is refused",
        source: "draft-07 §2.2",
        level: Level::Should,
        harm: "All clients whose key was lost in a bug share one key, and get each other's responses.",
        needs: &[],
        cost: (2, 0),
        check: |service| Box::pin(empty(service)),
    },
    Case {
        id: "keys/3",
        rule: "A key of 255 characters is accepted",
        source: "common practice",
        level: Level::Choice,
        harm: "Clients whose keys are longer than a UUID cannot use the service.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(long(service)),
    },
    Case {
        id: "keys/4",
        rule: "Keys that differ only in their 256th character are two keys, or are refused",
        source: "draft-07 §2.2",
        level: Level::Must,
        harm: "The end of a long key is cut off, so the second of two orders is never carried out.",
        needs: &[],
        cost: (2, 2),
        check: |service| Box::pin(too_long(service)),
    },
    Case {
        id: "keys/5",
        rule: "A key that is not ASCII is refused",
        source: "draft-07 §2.1, RFC 8941 §3.3.3",
        level: Level::Should,
        harm: "Proxies and libraries decode such a key differently, so a retry may have another one.",
        needs: &[],
        cost: (2, 0),
        check: |service| Box::pin(not_ascii(service)),
    },
    Case {
        id: "keys/6",
        rule: "A bare key and the same key in quotes are one key",
        source: "draft-07 §2.1",
        level: Level::Should,
        harm: "A client whose library begins to write keys as the draft does repeats its operations once.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(quoted(service)),
    },
    Case {
        id: "keys/7",
        rule: "A parameter after a quoted key does not make it another key",
        source: "RFC 8941 §3.3",
        level: Level::Choice,
        harm: "A client or proxy that adds a parameter repeats the operation.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(parameters(service)),
    },
    Case {
        id: "keys/8",
        rule: "A request with two keys in two lines is refused",
        source: "draft-07 §2.1",
        level: Level::Should,
        harm: "A retry that carries only the other key is carried out again.",
        needs: &[],
        cost: (1, 0),
        check: |service| Box::pin(two_lines(service)),
    },
    Case {
        id: "keys/9",
        rule: "A request with two keys that a proxy joined into one line is refused",
        source: "draft-07 §2.1, RFC 9110 §5.3",
        level: Level::Should,
        harm: "A request that passes such a proxy has another key than its retry that does not.",
        needs: &[],
        cost: (1, 0),
        check: |service| Box::pin(joined_lines(service)),
    },
    Case {
        id: "keys/10",
        rule: "The nil UUID is refused",
        source: "RFC 9562 §5.9, common practice",
        level: Level::Choice,
        harm: "All clients that did not set their key share it.",
        needs: &[],
        cost: (1, 0),
        check: |service| Box::pin(nil(service)),
    },
    Case {
        id: "keys/11",
        rule: "The name of the header may be written in upper or lower case",
        source: "RFC 9110 §5.1",
        level: Level::Must,
        harm: "A client or proxy that writes the name in another case repeats its operations.",
        needs: &[],
        cost: (2, 1),
        check: |service| Box::pin(upper_case(service)),
    },
];

/// The finding on a request that should have been refused.
fn refused(answer: &Answer, runs: Option<i64>, service: &Service<'_>) -> Finding {
    let status = answer.status;
    if service.is_done(answer) {
        return Finding::Broken(format!("it is answered with {status}"));
    }
    match (runs, status) {
        (Some(1..), _) => Finding::Failed(format!("it is answered with {status}, and was carried out")),
        (_, 400) => Finding::Kept(String::new()),
        (_, 401..500) => Finding::Differs(format!("it is refused with {status} and not with 400")),
        _ => Finding::Broken(format!("it is answered with {status}")),
    }
}

/// Sends one operation with these lines as its keys. `KEY` and `OTHER` in them stand for two keys.
async fn refuses(service: &Service<'_>, lines: &[&str]) -> Result<Finding, Stop> {
    let (operation, other) = (service.operation()?, service.operation()?);
    let bare = |key: &str| key.trim_matches('"').to_owned();
    let (key, other) = (bare(&operation.key), bare(&other.key));
    let lines: Vec<String> = lines.iter().map(|line| line.replace("KEY", &key).replace("OTHER", &other)).collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let before = service.count().await?;
    let answer = service.send(&operation.with_keys(&lines)).await?;
    let runs = service.runs_since(before).await?;
    Ok(refused(&answer, runs, service))
}

async fn missing(service: &Service<'_>) -> Result<Finding, Stop> {
    refuses(service, &[]).await
}

async fn empty(service: &Service<'_>) -> Result<Finding, Stop> {
    let (one, other) = (service.operation()?, service.operation()?);
    let other = match service.target.other_body {
        Some(_) => service.with_other_body(&other).without(&service.target.key_header),
        None => other.bare,
    };
    let other = other.line(&service.target.key_header, "");
    let tries = service.tries(&one.with_keys(&[b""]), &other).await?;
    if !service.is_done(&tries.first) && !service.is_done(&tries.second) {
        return Ok(refused(&tries.first, tries.runs, service));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("it is taken as a request without a key".to_owned()),
        Second::Replayed => Finding::Failed("the next client with an empty key gets this response".to_owned()),
        Second::Refused => Finding::Failed("the next client with an empty key is refused: the key is used".to_owned()),
        Second::Unclear => Finding::Broken(format!("it is answered with {}", tries.first.status)),
    })
}

/// A key of so many characters, which ends with the operation's own.
fn padded(key: &str, length: usize) -> String {
    format!("{key:k>length$}")
}

async fn long(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let key = padded(operation.key.trim_matches('"'), 255);
    let request = operation.with_keys(&[key.as_bytes()]);
    let tries = service.tries(&request, &request).await?;
    if !service.is_done(&tries.first) {
        return Ok(Finding::Broken(format!("it is answered with {}", tries.first.status)));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Failed("it is accepted, and the retry is carried out again".to_owned()),
        Second::Refused => Finding::Failed(format!("it is accepted, and the retry gets {}", tries.second.status)),
        Second::Replayed => Finding::Kept(String::new()),
        Second::Unclear => unclear(),
    })
}

async fn too_long(service: &Service<'_>) -> Result<Finding, Stop> {
    let (one, other) = (service.operation()?, service.operation()?);
    let start = padded(one.key.trim_matches('"'), 255);
    let second = other.with_keys(&[format!("{start}2").as_bytes()]);
    let tries = service.tries(&one.with_keys(&[format!("{start}1").as_bytes()]), &second).await?;
    if tries.first.status >= 500 {
        return Ok(Finding::Broken(format!("a key of 256 characters is answered with {}", tries.first.status)));
    }
    if !service.is_done(&tries.first) {
        return Ok(Finding::Kept(format!("refused with {}", tries.first.status)));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Kept("they are two keys".to_owned()),
        Second::Replayed => Finding::Broken("the second request gets the response to the first".to_owned()),
        Second::Refused => Finding::Broken(format!("the second request gets {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}

async fn not_ascii(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let key = format!("{}é", operation.key.trim_matches('"'));
    let request = operation.with_keys(&[key.as_bytes()]);
    let tries = service.tries(&request, &request).await?;
    if !service.is_done(&tries.first) {
        return Ok(refused(&tries.first, tries.runs, service));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Failed("it is accepted, and the retry is carried out again".to_owned()),
        _ => Finding::Broken(format!("it is answered with {}", tries.first.status)),
    })
}

async fn quoted(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let bare = operation.key.trim_matches('"').to_owned();
    let in_quotes = operation.with_keys(&[format!("\"{bare}\"").as_bytes()]);
    let tries = service.tries(&in_quotes, &operation.with_keys(&[bare.as_bytes()])).await?;
    if !service.is_done(&tries.first) {
        return Ok(Finding::Broken(format!("a key in quotes is answered with {}", tries.first.status)));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("they are two keys".to_owned()),
        Second::Replayed => Finding::Kept(String::new()),
        Second::Refused => {
            Finding::Kept(format!("only keys in quotes are accepted; a bare one gets {}", tries.second.status))
        }
        Second::Unclear => unclear(),
    })
}

async fn parameters(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let bare = operation.key.trim_matches('"').to_owned();
    let in_quotes = operation.with_keys(&[format!("\"{bare}\"").as_bytes()]);
    let with_parameter = operation.with_keys(&[format!("\"{bare}\";v=1").as_bytes()]);
    let tries = service.tries(&in_quotes, &with_parameter).await?;
    if !service.is_done(&tries.first) {
        return Ok(Finding::NotApplicable("the service refuses keys in quotes".to_owned()));
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("it is another key".to_owned()),
        Second::Replayed => Finding::Kept("the parameter is ignored".to_owned()),
        Second::Refused => Finding::Kept(format!("refused with {}", tries.second.status)),
        Second::Unclear => unclear(),
    })
}

async fn two_lines(service: &Service<'_>) -> Result<Finding, Stop> {
    refuses(service, &["KEY", "OTHER"]).await
}

async fn joined_lines(service: &Service<'_>) -> Result<Finding, Stop> {
    refuses(service, &["KEY, OTHER"]).await
}

async fn nil(service: &Service<'_>) -> Result<Finding, Stop> {
    refuses(service, &["00000000-0000-0000-0000-000000000000"]).await
}

async fn upper_case(service: &Service<'_>) -> Result<Finding, Stop> {
    let operation = service.operation()?;
    let upper = operation.bare.clone().line(&service.target.key_header.to_uppercase(), &operation.key);
    let tries = service.tries(&operation.request(), &upper).await?;
    if let Some(finding) = tries.first_failed(service) {
        return Ok(finding);
    }
    Ok(match tries.second(service) {
        Second::Ran => Finding::Broken("the retry with the name in upper case is carried out again".to_owned()),
        Second::Replayed => Finding::Kept(String::new()),
        Second::Refused => {
            Finding::Broken(format!("the retry with the name in upper case gets {}", tries.second.status))
        }
        Second::Unclear => unclear(),
    })
}
