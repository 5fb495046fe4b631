//! rmcp's own client loses the result of a call and calls again, over both transports.

use std::{
    future::pending,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use rmcp::{
    RoleClient, ServiceExt as _,
    model::{CallToolRequestParams, CallToolResult, JsonObject, RequestMetaObject},
    service::RunningService,
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::{
    io::{self, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

type Client = RunningService<RoleClient, ()>;

/// The service's database, which servers and the test open.
struct Database {
    url: String,
    pool: SqlitePool,
    _directory: TempDir,
}

impl Database {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", directory.path().join("invoices.db").display());
        let pool = SqlitePool::connect(&url).await.unwrap();
        Self { url, pool, _directory: directory }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tool"));
        command.args(arguments).env("DATABASE_URL", &self.url).env("PORT", "0").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// A server over HTTP, and its address.
    async fn serve(&self) -> (Child, SocketAddr) {
        let mut process = self.start(&[]);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let greeting = lines.next_line().await.unwrap().unwrap();
        let address = greeting.strip_prefix("http://").and_then(|url| url.strip_suffix("/mcp"));
        (process, address.unwrap().parse().unwrap())
    }

    /// A server over stdio, and its client, which gets no results once they are lost.
    async fn serve_stdio(&self, lost: &Arc<AtomicBool>) -> (Child, Client) {
        let mut process = self.start(&["stdio"]);
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (received, carried) = io::duplex(1 << 16);
        tokio::spawn(carry(output, carried, Arc::clone(lost)));
        (process, ().serve((received, input)).await.unwrap())
    }

    async fn payments(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM payments").fetch_one(&self.pool).await.unwrap()
    }

    /// Calls until the payment is committed. The result does not arrive.
    async fn pay_without_result(&self, client: &Client, call: CallToolRequestParams) {
        let before = self.payments().await;
        let paid = async {
            while self.payments().await == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // The client may notice that the connection is broken.
        let call = async {
            match client.call_tool(call).await {
                Ok(result) => panic!("{result:?}"),
                Err(_) => pending().await,
            }
        };
        let either = async {
            tokio::select! {
                () = call => {}
                () = paid => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(30), either).await.expect("it is paid");
    }
}

/// Carries what a server sends, until it is to be lost.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, lost: Arc<AtomicBool>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if lost.load(SeqCst) || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// The address of a proxy. While results are lost, it breaks the connections on which they come.
async fn proxy(server: SocketAddr, lost: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lost) = (listener.local_addr().unwrap(), Arc::clone(lost));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else { continue };
            let lost = Arc::clone(&lost);
            tokio::spawn(async move {
                let ((mut requests, to_client), (results, mut to_server)) = (client.into_split(), server.into_split());
                tokio::select! {
                    _ = io::copy(&mut requests, &mut to_server) => {}
                    () = carry(results, to_client, lost) => {}
                }
            });
        }
    });
    address
}

async fn connect(address: SocketAddr) -> Client {
    ().serve(StreamableHttpClientTransport::from_uri(format!("http://{address}/mcp"))).await.unwrap()
}

fn object(value: Value) -> JsonObject {
    serde_json::from_value(value).unwrap()
}

/// A call that pays this invoice, with a key of the client's or none.
fn call(invoice: &str, key: Option<&str>) -> CallToolRequestParams {
    let mut call = CallToolRequestParams::new("pay_invoice");
    call.arguments = Some(object(json!({ "number": invoice, "cents": 500 })));
    call.meta = key.map(|key| RequestMetaObject::from(object(json!({ "example.com/idempotency-key": key }))));
    call
}

async fn pay(client: &Client, call: CallToolRequestParams) -> CallToolResult {
    client.call_tool(call).await.unwrap()
}

fn receipt(result: &CallToolResult) -> i64 {
    let receipt = result.structured_content.as_ref().unwrap_or_else(|| panic!("{result:?}"));
    receipt["payment"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_a_call_whose_result_was_lost_is_repeated_in_the_session_and_pays_once() {
    let (database, lost) = (Database::new().await, Arc::default());
    let (_server, address) = database.serve().await;
    let client = connect(proxy(address, &lost).await).await;
    lost.store(true, SeqCst);
    database.pay_without_result(&client, call("2026-11", None)).await;
    lost.store(false, SeqCst);
    assert_eq!(receipt(&pay(&client, call("2026-11", None)).await), 1);
    assert_eq!(database.payments().await, 1);
    // Another invoice, and another agent.
    assert_eq!(receipt(&pay(&client, call("2026-12", None)).await), 2);
    assert_eq!(receipt(&pay(&connect(address).await, call("2026-11", None)).await), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_a_call_whose_server_was_killed_is_repeated_at_another_by_its_key_and_pays_once() {
    let (database, lost) = (Database::new().await, Arc::default());
    let ((mut killed, address), (_server, other)) = (database.serve().await, database.serve().await);
    let client = connect(proxy(address, &lost).await).await;
    lost.store(true, SeqCst);
    database.pay_without_result(&client, call("2026-11", Some("k"))).await;
    killed.kill().await.unwrap();
    let client = connect(other).await;
    assert_eq!(receipt(&pay(&client, call("2026-11", Some("k"))).await), 1);
    assert_eq!(database.payments().await, 1);
    // The key with another invoice.
    let reused = pay(&client, call("2026-12", Some("k"))).await;
    assert_eq!((reused.is_error, database.payments().await), (Some(true), 1), "{reused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_stdio_a_call_whose_server_was_killed_is_repeated_and_pays_once() {
    let database = Database::new().await;
    for (payment, key) in [(1, None), (2, Some("k"))] {
        let lost = Arc::default();
        let (mut killed, client) = database.serve_stdio(&lost).await;
        lost.store(true, SeqCst);
        database.pay_without_result(&client, call("2026-11", key)).await;
        killed.kill().await.unwrap();
        let (_server, client) = database.serve_stdio(&Arc::default()).await;
        assert_eq!(receipt(&pay(&client, call("2026-11", key)).await), payment);
        assert_eq!(database.payments().await, payment);
    }
}
