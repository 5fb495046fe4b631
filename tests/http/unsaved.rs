//! Responses and failures that the store does not accept at the end of an attempt: how long and how much of them is
//! kept, and that what is given up is counted and logged. The tests run in process, and their clock is paused: it moves
//! on only when nothing else is to be done.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, header::LOCATION},
    response::IntoResponse,
    routing::post,
};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt;
use idempotent_runtime::{Idempotency, idempotent};
use support::observed::Observed;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::stage::{App, Fault, Op, Runs, Stage};

const MIB: usize = 1 << 20;

/// Answers with the given number of bytes. If the number is 0, it fails.
#[idempotent(ttl = "24h", lease = "10s")]
async fn produce(State(runs): State<Runs>, length: String) -> impl IntoResponse {
    let number = runs.begin();
    let length: usize = length.parse().unwrap();
    let status = if length == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::CREATED };
    (status, [(LOCATION, format!("/{number}"))], "x".repeat(length))
}

/// Answers with a body that takes longer than a response is waited for.
#[idempotent(ttl = "24h", lease = "10s")]
async fn stream(State(runs): State<Runs>) -> Body {
    runs.begin();
    Body::from_stream(stream::iter(["one ", "two"]).then(|chunk| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(chunk)
    }))
}

/// A service whose store refuses every call at the end of an attempt.
struct Service {
    stage: Stage,
    idempotency: Idempotency,
    runs: Runs,
    routes: Router,
}

impl Service {
    fn start() -> Self {
        Self::with_places(100)
    }

    /// As many requests may be in flight.
    fn with_places(places: usize) -> Self {
        let stage = Stage::memory();
        let settings = stage.settings().store_timeout(Duration::from_millis(100)).max_response(65 * MIB);
        let settings = settings.max_in_flight(places);
        let (idempotency, runs) = (settings.build(), Runs::default());
        let app = App { idempotency: idempotency.clone(), runs: runs.clone() };
        for op in [Op::Complete, Op::Release, Op::Abandon] {
            stage.store.fail(op, Fault::Refuse);
        }
        let routes = Router::new().route("/", post(produce)).route("/stream", post(stream));
        Self { stage, idempotency, runs, routes: routes.with_state(app) }
    }

    async fn send(&self, key: &str, length: usize) -> Answer {
        self.send_to("/", key, length).await
    }

    async fn send_to(&self, path: &str, key: &str, length: usize) -> Answer {
        let request = Request::post(path).header("idempotency-key", key).body(Body::from(length.to_string())).unwrap();
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status: parts.status.as_u16(),
            replayed: text("idempotent-replayed").is_some(),
            location: text("location"),
            length: body.len(),
            problem: String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned(),
        }
    }
}

struct Answer {
    status: u16,
    replayed: bool,
    location: Option<String>,
    length: usize,
    problem: String,
}

fn attempts(observed: &Observed, end: &str) -> i64 {
    observed.number(&format!("idempotency_attempts_total{{handler=http::unsaved::produce,end={end}}}"))
}

fn observe<F: Future<Output = ()>>(scenario: impl FnOnce(Observed) -> F) {
    let observed = Observed::default();
    observed.during(async {
        tokio::time::pause();
        scenario(observed.clone()).await;
    });
}

#[test]
fn a_response_that_the_store_never_takes_is_given_up_after_ten_minutes() {
    observe(|observed| async move {
        let service = Service::start();
        let sent = service.send("k", 100).await;
        assert_eq!((sent.status, sent.length), (201, 100));
        assert_eq!(service.send("k", 100).await.status, 409, "its lease is kept while it waits to be stored");
        let start = Instant::now();
        service.idempotency.drain().await;
        let given_up = start.elapsed();
        assert!((590..=610).contains(&given_up.as_secs()), "given up after {given_up:?}");
        assert_eq!((attempts(&observed, "unsaved"), attempts(&observed, "stored")), (1, 0));
        let lines = observed.lines();
        assert_eq!(
            lines.iter().filter(|line| line.contains("response not stored; a retry may run again")).count(),
            1,
            "{lines:#?}"
        );
        // The store does not know what the attempt did. Its record stays, and the next attempt takes the key over.
        service.stage.store.heal();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!((service.send("k", 100).await.status, service.runs.count()), (201, 2));
        assert_eq!(observed.number("idempotency_takeovers_total{handler=http::unsaved::produce}"), 1);
    });
}

#[test]
fn a_failure_that_the_store_never_takes_is_given_up_after_ten_minutes() {
    observe(|observed| async move {
        let service = Service::start();
        assert_eq!(service.send("k", 0).await.status, 502);
        let start = Instant::now();
        service.idempotency.drain().await;
        let given_up = start.elapsed();
        assert!((590..=610).contains(&given_up.as_secs()), "given up after {given_up:?}");
        assert_eq!((attempts(&observed, "unsaved"), attempts(&observed, "freed")), (1, 0));
    });
}

#[test]
fn a_response_that_the_store_takes_late_is_stored_whole() {
    observe(|observed| async move {
        let service = Service::start();
        service.send("k", 100).await;
        tokio::time::sleep(Duration::from_secs(9 * 60)).await;
        service.stage.store.heal();
        service.idempotency.drain().await;
        let replay = service.send("k", 100).await;
        assert_eq!((replay.status, replay.replayed, replay.length), (201, true, 100));
        assert_eq!((attempts(&observed, "unsaved"), attempts(&observed, "stored")), (0, 1));
    });
}

#[test]
fn a_stream_that_the_store_takes_late_is_stored_whole() {
    observe(|_| async move {
        let service = Service::start();
        assert_eq!(service.send_to("/stream", "k", 0).await.length, 7);
        // The body has ended, and its record is not stored even without it.
        tokio::time::sleep(Duration::from_secs(2)).await;
        service.stage.store.heal();
        service.idempotency.drain().await;
        let replay = service.send_to("/stream", "k", 0).await;
        assert_eq!((replay.replayed, replay.length, service.runs.count()), (true, 7, 1), "{}", replay.problem);
    });
}

#[test]
fn beyond_64_mib_of_waiting_responses_only_that_the_request_ran_is_kept() {
    observe(|observed| async move {
        let service = Service::start();
        assert_eq!(service.send("large", 40 * MIB).await.length, 40 * MIB);
        assert_eq!(service.send("too much", 30 * MIB).await.length, 30 * MIB, "the client has all of it");
        assert_eq!(service.send("small", 100).await.status, 201);
        service.stage.store.heal();
        service.idempotency.drain().await;
        let replay = service.send("large", 40 * MIB).await;
        assert_eq!((replay.status, replay.replayed, replay.length), (201, true, 40 * MIB));
        let retry = service.send("too much", 30 * MIB).await;
        assert_eq!((retry.status, retry.location.as_deref()), (409, Some("/2")));
        assert!(retry.problem.contains("#not-replayable"), "{}", retry.problem);
        assert!(service.send("small", 100).await.replayed);
        assert_eq!((service.runs.count(), attempts(&observed, "stored")), (3, 3));
    });
}

#[test]
fn without_room_even_for_that_the_end_of_an_attempt_holds_its_requests_place() {
    observe(|observed| async move {
        let service = Service::with_places(2);
        // This takes the last KiB of the room as well: the record's head is a few hundred bytes.
        assert_eq!(service.send("all of it", 64 * MIB - 700).await.status, 201);
        assert_eq!((service.send("response", 100).await.status, service.send("failure", 0).await.status), (201, 502));
        assert_eq!(service.send("one more", 100).await.status, 503, "both places are held");
        tokio::time::sleep(Duration::from_secs(25)).await;
        for response in &service.stage.store.claims()[..2] {
            assert!(service.stage.store.is_running(response).await, "its lease is kept, with room for it and without");
        }
        service.stage.store.heal();
        service.idempotency.drain().await;
        assert!(service.send("all of it", 64 * MIB - 700).await.replayed);
        let retry = service.send("response", 100).await;
        assert_eq!((retry.status, retry.location.as_deref()), (409, Some("/2")), "it is known to have run");
        assert_eq!(service.send("failure", 0).await.status, 502);
        assert_eq!((service.runs.count(), attempts(&observed, "unsaved")), (4, 0));
    });
}

#[test]
fn what_a_full_store_does_not_take_is_stored_when_there_is_room_again() {
    observe(|observed| async move {
        let service = Service::start();
        for op in [Op::Complete, Op::Release, Op::Abandon] {
            service.stage.store.fail(op, Fault::Full);
        }
        assert_eq!((service.send("response", 100).await.status, service.send("failure", 0).await.status), (201, 502));
        tokio::time::sleep(Duration::from_millis(300)).await;
        service.stage.store.heal();
        service.idempotency.drain().await;
        assert!(service.send("response", 100).await.replayed);
        assert_eq!((attempts(&observed, "stored"), attempts(&observed, "freed")), (1, 1));
        assert_eq!(service.runs.count(), 2);
    });
}
