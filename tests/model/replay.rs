//! Replays the model's paths on the real stores: every call has to be answered as the model says.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use idempotent_runtime::testing::Claims;
use idempotent_runtime::{
    MemoryStore, RedisStore, Store,
    store::{
        Acquired, ClaimOutcome, ClaimRequest, CompleteOutcome, Fingerprint, ReleaseOutcome, RenewOutcome, SaveOutcome,
        StoreKey,
    },
};
use redis::aio::MultiplexedConnection;
use support::{redis_server::RedisServer, redis_store::patient};

use crate::{
    rules::{Call, Claimed, Completed, Renewed},
    search::{self, Search},
    world::{ATTEMPTS, Reply, request},
};

const TRACES: usize = 1_000;

/// A thousand paths of each search.
fn traces() -> Vec<Vec<Call>> {
    [search::of_the_protocol(), search::of_steps()].into_iter().flat_map(traces_of).collect()
}

/// A thousand paths with many calls to the store, from all parts of the search.
fn traces_of(search: &Search) -> Vec<Vec<Call>> {
    let count = search.states.len();
    let mut traces: Vec<_> = (0..count).step_by((count / 20_000).max(1)).map(|state| search.calls(state)).collect();
    traces.sort_by_key(|calls| std::cmp::Reverse(calls.len()));
    traces.dedup();
    let step = (traces.len() / TRACES).max(1);
    let chosen: Vec<_> = traces.into_iter().step_by(step).take(TRACES).collect();
    assert_eq!(chosen.len(), TRACES);
    chosen
}

/// The three attempts of a trace. Each trace has its own key.
struct Actors {
    attempts: Vec<ClaimRequest>,
    fences: Vec<u64>,
}

impl Actors {
    fn new(trace: usize, lease: Duration) -> Self {
        let attempt = |by| {
            let mut attempt = ClaimRequest::new(StoreKey::new(format!("trace-{trace}")), fingerprint(request(by)));
            attempt.lease = lease;
            attempt
        };
        Self { attempts: (0..ATTEMPTS).map(attempt).collect(), fences: vec![0; ATTEMPTS] }
    }

    async fn call(&mut self, store: &impl Store, call: Call) -> Call {
        match call {
            Call::Claim { by, .. } => {
                let expect = match store.claim(&self.attempts[by]).await.expect("an answer") {
                    ClaimOutcome::Acquired(Acquired { fence, recovering, steps, .. }) => {
                        self.fences[by] = fence;
                        Claimed::Yours { recovering, step: steps.first().map(|&by| usize::from(by)) }
                    }
                    ClaimOutcome::Running { .. } => Claimed::Running,
                    ClaimOutcome::Done(record) => Claimed::Done(decode(&record)),
                    ClaimOutcome::OtherRequest => Claimed::OtherRequest,
                    other => panic!("{other:?}"),
                };
                Call::Claim { by, expect }
            }
            Call::Renew { by, step, .. } => {
                let mut held = Acquired::new(self.fences[by], step.is_some());
                held.steps = step.map(value).unwrap_or_default();
                let expect = match store.renew(&self.attempts[by], &held).await.expect("an answer") {
                    RenewOutcome::Renewed => Renewed::Again,
                    RenewOutcome::Recreated => Renewed::Recreated,
                    RenewOutcome::Completed => Renewed::Completed,
                    RenewOutcome::Lost => Renewed::Lost,
                };
                Call::Renew { by, step, expect }
            }
            Call::Save { by, .. } => {
                let saved = store.save_steps(&self.attempts[by], self.fences[by], value(by)).await.expect("an answer");
                Call::Save { by, saved: saved == SaveOutcome::Saved }
            }
            Call::Complete { by, reply, .. } => {
                // A response from the journal is stored with the fingerprint of the request that it belongs to.
                let attempt = &mut self.attempts[by].clone();
                attempt.fingerprint = fingerprint(reply.request());
                let expect =
                    match store.complete(attempt, self.fences[by], encode(reply).into()).await.expect("an answer") {
                        CompleteOutcome::Stored => Completed::Stored,
                        CompleteOutcome::AlreadyStored => Completed::AlreadyStored,
                        CompleteOutcome::Lost => Completed::Lost,
                    };
                Call::Complete { by, reply, expect }
            }
            Call::Release { by, .. } => {
                let ended = store.release(&self.attempts[by]).await.expect("an answer") == ReleaseOutcome::Ended;
                Call::Release { by, ended }
            }
            Call::Lapse | Call::Lose => call,
        }
    }
}

fn fingerprint(request: u8) -> Fingerprint {
    Fingerprint::from_bytes([request; 32])
}

/// The value of a step.
fn value(by: usize) -> Bytes {
    vec![u8::try_from(by).expect("few attempts")].into()
}

fn encode(reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Paid(by) => vec![1, u8::try_from(by).expect("few attempts")],
        Reply::Said(by) => vec![2, u8::try_from(by).expect("few attempts")],
    }
}

fn decode(record: &[u8]) -> Reply {
    match record {
        [1, by] => Reply::Paid(usize::from(*by)),
        [2, by] => Reply::Said(usize::from(*by)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_paths_go_the_same_way_on_the_memory_store() {
    let lease = Duration::from_secs(30);
    let mut calls = 0;
    for (number, trace) in traces().into_iter().enumerate() {
        let mut store = MemoryStore::new();
        let mut actors = Actors::new(number, lease);
        for call in trace {
            calls += 1;
            match call {
                Call::Lapse => tokio::time::advance(lease).await,
                Call::Lose => store = MemoryStore::new(),
                call => assert_eq!(actors.call(&store, call).await, call, "trace {number}"),
            }
        }
    }
    println!("{calls} calls");
}

/// A path on a Redis, where time is real. `Err`: a call was answered in another way.
struct OnRedis<'a> {
    store: &'a RedisStore,
    losing: MultiplexedConnection,
    lease: Duration,
}

impl OnRedis<'_> {
    async fn walk(&self, name: usize, trace: &[Call]) -> Result<(), String> {
        let mut actors = Actors::new(name, self.lease);
        for &call in trace {
            match call {
                Call::Lapse => tokio::time::sleep(self.lease + Duration::from_millis(50)).await,
                Call::Lose => {
                    let key = actors.attempts[0].key.as_str();
                    let mut losing = self.losing.clone();
                    let gone: i64 = redis::cmd("DEL").arg(key).query_async(&mut losing).await.expect("an answer");
                    (gone == 1).then_some(()).ok_or("there is nothing to lose")?;
                }
                call => {
                    let answered = actors.call(self.store, call).await;
                    (answered == call).then_some(()).ok_or_else(|| format!("{answered:?} and not {call:?}"))?;
                }
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_paths_go_the_same_way_on_redis() {
    let server = RedisServer::start();
    let store = patient().connect(&server.url()).await.expect("a store");
    let client = redis::Client::open(server.url()).expect("a URL");
    let losing = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut redis = OnRedis { store: &store, losing, lease: Duration::from_secs(4) };
    // All run at once; only a lapse waits for the lease.
    let (traces, walk) = (traces(), &redis);
    let ways = join_all(traces.iter().enumerate().map(|(name, trace)| walk.walk(name, trace))).await;
    // On a busy machine a lease may end between two calls. So what differs is walked once more: by itself, and with a longer
    // lease.
    redis.lease = Duration::from_secs(12);
    for (number, difference) in ways.into_iter().enumerate().filter_map(|(number, way)| Some((number, way.err()?))) {
        println!("trace {number}: {difference}");
        redis
            .walk(traces.len() + number, &traces[number])
            .await
            .unwrap_or_else(|again| panic!("trace {number}: {again}"));
    }
}
