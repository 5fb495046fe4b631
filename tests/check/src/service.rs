//! What cases work with: operations, exchanges with the service, and the count of effects.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    case::Stop,
    effects,
    http::{Answer, Cut, Http, NoAnswer, Request},
    options::KeyFormat,
    target::{Line, Target},
};

/// How long a retry is repeated while the first request is said to run.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Service<'t> {
    pub(crate) target: &'t Target,
    http: Http,
    started: Instant,
    requests: Cell<u32>,
    /// What the current case has sent.
    sent: RefCell<Vec<Sent>>,
    pub(crate) normal: Normal,
}

/// How the service answers when nothing is wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normal {
    /// The responses to two different operations.
    pub(crate) fresh: Vec<Answer>,
    /// The response to a retry of the first.
    pub(crate) retry: Option<Answer>,
    /// By how much one operation changes the count of effects.
    pub(crate) unit: Option<i64>,
}

/// One operation of a user: a request, and the key of all its tries.
#[derive(Clone)]
pub(crate) struct Operation {
    /// Without a key.
    pub(crate) bare: Request,
    header: String,
    /// The key as it is written in the header.
    pub(crate) key: String,
    /// The value of `{{unique}}` in it.
    pub(crate) unique: String,
}

/// What was sent, for the report.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) request: Request,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Whole,
    AtOnce(usize),
    OnOneConnection(usize),
    Cut(Cut),
    Slowly,
}

impl Operation {
    pub(crate) fn request(&self) -> Request {
        self.with_keys(&[self.key.as_bytes()])
    }

    /// The request with these lines in place of the key's.
    pub(crate) fn with_keys(&self, lines: &[&[u8]]) -> Request {
        lines.iter().fold(self.bare.clone(), |request, line| request.line(&self.header, line))
    }

    /// The same key with another request.
    pub(crate) fn with(&self, change: impl FnOnce(Request) -> Request) -> Request {
        change(self.bare.clone()).line(&self.header, &self.key)
    }
}

impl<'t> Service<'t> {
    pub(crate) fn new(target: &'t Target) -> Result<Self, String> {
        let http = Http::new(target.timeout, target.authority.as_deref())?;
        let (requests, sent) = (Cell::new(0), RefCell::default());
        Ok(Self { target, http, started: Instant::now(), requests, sent, normal: Normal::default() })
    }

    /// A new operation.
    pub(crate) fn operation(&self) -> Result<Operation, Stop> {
        let unique = Uuid::new_v4().to_string();
        let bare = self.target.request(&unique).map_err(Stop::Unusable)?;
        let key = match self.target.key_format {
            KeyFormat::Uuid => Uuid::new_v4().to_string(),
            KeyFormat::Uuidv7 => Uuid::now_v7().to_string(),
            KeyFormat::Quoted => format!("\"{}\"", Uuid::new_v4()),
        };
        Ok(Operation { bare, header: self.target.key_header.clone(), key, unique })
    }

    /// A new operation with a header that the user named.
    pub(crate) fn operation_with(&self, line: Option<&Line>) -> Result<Operation, Stop> {
        let mut operation = self.operation()?;
        if let Some((name, value)) = line {
            operation.bare = operation.bare.line(name, value);
        }
        Ok(operation)
    }

    /// The request of an operation with other content.
    pub(crate) fn with_other_body(&self, operation: &Operation) -> Request {
        let body = self.target.other_body(&operation.unique).unwrap_or_default();
        operation.with(|request| request.with_body(body, "with other content"))
    }

    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Stop> {
        self.note(request, How::Whole, 1)?;
        Ok(self.http.send(request).await?)
    }

    /// Sends two requests one after the other on one connection.
    pub(crate) async fn send_in_turn(&self, requests: &[&Request]) -> Result<Vec<Answer>, Stop> {
        for request in requests {
            self.note(request, How::Whole, 1)?;
        }
        Ok(self.http.send_in_turn(requests).await?)
    }

    /// Sends the same request so many times at once.
    pub(crate) async fn send_at_once(
        &self,
        request: &Request,
        count: usize,
        on_one_connection: bool,
    ) -> Result<Vec<Answer>, Stop> {
        let how = if on_one_connection { How::OnOneConnection(count) } else { How::AtOnce(count) };
        self.note(request, how, u32::try_from(count).unwrap_or(u32::MAX))?;
        if on_one_connection {
            return Ok(self.http.send_pipelined(request, count).await?);
        }
        let (mut answers, mut failure) = (Vec::new(), None);
        for answer in self.http.send_at_once(request, count).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if answers.is_empty() => Err(error.into()),
            _ => Ok(answers),
        }
    }

    pub(crate) async fn send_and_cut(&self, request: &Request, cut: Cut) -> Result<(), Stop> {
        self.note(request, How::Cut(cut), 1)?;
        Ok(self.http.send_and_cut(request, cut).await?)
    }

    /// Sends a request slowly, and another one while the first is on its way.
    pub(crate) async fn send_slowly_beside(
        &self,
        slow: &Request,
        pause: Duration,
        other: &Request,
    ) -> Result<(Answer, Answer), Stop> {
        self.note(slow, How::Slowly, 1)?;
        self.note(other, How::Whole, 1)?;
        let beside = async {
            sleep(pause * 2).await;
            self.http.send(other).await
        };
        let (slow, other) = tokio::join!(self.http.send_slowly(slow, pause), beside);
        Ok((slow?, other?))
    }

    /// Sends a request, and another one while the first runs.
    pub(crate) async fn send_beside(&self, first: &Request, other: &Request) -> Result<(Answer, Answer), Stop> {
        self.note(first, How::Whole, 1)?;
        self.note(other, How::Whole, 1)?;
        Ok(self.http.send_beside(first, other, Duration::from_millis(100)).await?)
    }

    /// Sends a request again for as long as the service says that it is not done yet: 409, 425, 429, 503.
    pub(crate) async fn settled(&self, request: &Request) -> Result<Answer, Stop> {
        let is_final = |answer: &Answer| {
            let says_later = matches!(answer.status, 409 | 425 | 429 | 503);
            !says_later || self.normal.retry.as_ref().is_some_and(|retry| retry.status == answer.status)
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send(request).await?;
            if is_final(&answer) || Instant::now() >= deadline {
                return Ok(answer);
            }
            let asked = answer.text("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            sleep(
                asked.unwrap_or(Duration::from_millis(200)).clamp(Duration::from_millis(100), Duration::from_secs(2)),
            )
            .await;
        }
    }

    /// The count of effects, if there is a way to count.
    pub(crate) async fn count(&self) -> Result<Option<i64>, Stop> {
        effects::count(self.target, &self.http).await.map_err(Stop::Unusable)
    }

    /// How many operations were carried out since the count.
    pub(crate) async fn runs_since(&self, before: Option<i64>) -> Result<Option<i64>, Stop> {
        let Some(before) = before else { return Ok(None) };
        sleep(self.target.settle).await;
        let now = self.count().await?.unwrap_or(before);
        Ok(self.normal.unit.map(|unit| (now - before) / unit))
    }

    /// Runs the command that restarts the service, and waits until the service answers again.
    pub(crate) async fn restart(&self, command: &str) -> Result<(), Stop> {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-c", command]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        shell.stdout(std::process::Stdio::null());
        let limit = self.target.timeout * 6;
        let ended = tokio::time::timeout(limit, shell.status()).await;
        let ended = ended.map_err(|_| Stop::Unusable("--restart: the command does not end".to_owned()))?;
        let status = ended.map_err(|error| Stop::Unusable(format!("--restart: {error}")))?;
        if !status.success() {
            return Err(Stop::Unusable(format!("--restart: the command ends with {status}")));
        }
        let deadline = Instant::now() + limit;
        let probe = self.operation()?.bare.by("GET").with_body(Vec::new(), "");
        while let Err(error) = self.http.send(&probe).await {
            if Instant::now() >= deadline {
                return Err(Stop::Unusable(format!("--restart: after it the service {error}")));
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits, unless the run would take too long.
    pub(crate) async fn wait(&self, time: Duration) -> Result<(), Stop> {
        self.has_time_for(time)?;
        sleep(time).await;
        Ok(())
    }

    fn has_time_for(&self, more: Duration) -> Result<(), Stop> {
        let limit = self.target.max_time;
        if self.elapsed().saturating_add(more) <= limit {
            return Ok(());
        }
        Err(Stop::Limit(format!("the limit of {} is reached (--max-time)", humantime::format_duration(limit))))
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// How long the run has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What was sent since the last call.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        self.sent.take()
    }

    /// Counts requests before they are sent. None is sent beyond a limit.
    fn note(&self, request: &Request, how: How, count: u32) -> Result<(), Stop> {
        let total = self.requests.get().saturating_add(count);
        if total > self.target.max_requests {
            return Err(Stop::Limit(format!(
                "the limit of {} requests is reached (--max-requests)",
                self.target.max_requests
            )));
        }
        self.has_time_for(Duration::ZERO)?;
        self.requests.set(total);
        let mut sent = self.sent.borrow_mut();
        // A retry that is repeated is told once.
        let is_repeated = sent.last().is_some_and(|last| {
            last.how == how
                && last.request.lines() == request.lines()
                && last.request.body() == request.body()
                && sent.len() > 1
        });
        if !is_repeated {
            sent.push(Sent { request: request.clone(), how });
        }
        Ok(())
    }
}

/// A connection that is refused says that the service is gone.
pub(crate) fn is_gone(stop: &Stop) -> bool {
    matches!(stop, Stop::NoAnswer(error) if NoAnswer::is_unreachable(error))
}
