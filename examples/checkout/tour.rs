//! Kills the shop at each point of a checkout, lets the client retry, and counts the charges, orders and mails.

use std::{env, error::Error, process::Stdio, time::Duration};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::sleep,
};
use uuid::Uuid;

use crate::{elsewhere::Elsewhere, killed, serve};

type Answer = Result<(StatusCode, Value), reqwest::Error>;

const POINTS: [&str; 7] = [
    "before the charge",
    "after the charge",
    "before the order",
    "after the order",
    "before the mail",
    "after the mail",
    "before the answer",
];

/// Prints a row for each point.
pub(crate) async fn tour() -> Result<(), Box<dyn Error>> {
    let elsewhere = Elsewhere::default();
    let url = elsewhere.start().await?;
    println!(
        "The shop is killed at a point of the checkout and started again; then the client sends its request again.\n"
    );
    println!("| killed            | done before it      | run by the retry    | charges     | orders | mails       |");
    println!("|-------------------|---------------------|---------------------|-------------|--------|-------------|");
    for point in POINTS {
        let file = env::temp_dir().join(format!("checkout-{}.db", Uuid::new_v4()));
        let database = format!("sqlite://{}", file.display());
        let (first, second, orders) = kill_and_retry(&database, &url, point).await?;
        let (done, ran) = (steps("after", &first), steps("before", &second));
        let (charges, mails) = (elsewhere.charges().told(), elsewhere.mails().told());
        println!("| {point:<17} | {done:<19} | {ran:<19} | {charges:<11} | {orders:<6} | {mails:<11} |");
        if (elsewhere.charges().by_key.len(), orders, elsewhere.mails().by_key.len()) != (1, 1, 1) {
            return Err("an effect is missing, or happened twice".into());
        }
        elsewhere.clear();
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
    println!(
        "\nA step that was done but not saved runs again with the same key. The provider is asked twice and charges once."
    );
    Ok(())
}

/// The steps that have a point with this name (`before` or `after`) in the list.
fn steps(name: &str, points: &[String]) -> String {
    let steps = ["charge", "order", "mail"].into_iter().filter(|step| points.contains(&format!("{name} the {step}")));
    let steps: Vec<&str> = steps.collect();
    if steps.is_empty() { "nothing".to_owned() } else { steps.join(", ") }
}

/// Kills a shop at the point, and retries with a second one. Returns the points that each of the two reached, and how many
/// orders there are in the end.
async fn kill_and_retry(
    database: &str,
    services: &str,
    point: &str,
) -> Result<(Vec<String>, Vec<String>, usize), Box<dyn Error>> {
    let mut first = Process::start(database, services, Some(point)).await?;
    let lost = tokio::spawn(insist(first.address.clone()));
    let before = first.points_until(Some(point)).await?;
    first.child.kill().await?;
    if lost.await?.is_ok() {
        return Err("the client was answered by a process that was killed".into());
    }

    let mut second = Process::start(database, services, None).await?;
    let (status, order) = insist(second.address.clone()).await?;
    if status != StatusCode::CREATED {
        return Err(format!("{status}: {order}").into());
    }
    let orders: Value = json(Client::new().get(format!("{}/orders", second.address)).send().await?).await?.1;
    second.child.kill().await?;
    let after = second.points_until(None).await?;
    Ok((before, after, orders.as_array().map_or(0, Vec::len)))
}

/// Sends the client's request until it is answered as done.
async fn insist(address: String) -> Answer {
    loop {
        match buy(address.clone()).await? {
            // The lease of a dead attempt is not over yet, or the database did not answer in time.
            (StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE, _) => sleep(Duration::from_millis(100)).await,
            answer => return Ok(answer),
        }
    }
}

/// Sends the client's request. It is the same each time.
async fn buy(address: String) -> Answer {
    let request = Client::new().post(format!("{address}/orders")).header("idempotency-key", "order-1");
    let request = request.header("content-type", "application/json").body(r#"{"customer":"alice","cents":4200}"#);
    json(request.send().await?).await
}

async fn json(response: reqwest::Response) -> Answer {
    let status = response.status();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// The shop, in a separate process.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Process {
    async fn start(database: &str, services: &str, killed: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(serve::SHOP)
            .env(serve::DATABASE, database)
            .env(serve::SERVICES, services)
            .env_remove(killed::VARIABLE);
        command.envs(killed.map(|point| (killed::VARIABLE, point))).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the shop has no output")?;
        let mut lines = BufReader::new(output).lines();
        let address = lines.next_line().await?.ok_or("the shop did not start")?;
        Ok(Self { child, lines, address })
    }

    /// The points that the process reaches, up to this one or until it ends.
    async fn points_until(&mut self, last: Option<&str>) -> Result<Vec<String>, Box<dyn Error>> {
        let mut points = Vec::new();
        while let Some(line) = self.lines.next_line().await? {
            let point = line.strip_prefix(killed::AT).unwrap_or(&line).to_owned();
            let reached = last == Some(&point);
            points.push(point);
            if reached {
                return Ok(points);
            }
        }
        if last.is_none() { Ok(points) } else { Err("the shop ended by itself".into()) }
    }
}
