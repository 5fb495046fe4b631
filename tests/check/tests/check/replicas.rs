//! Two replicas behind nginx, with their keys in Redis.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use support::{free_port, redis_server::RedisServer, redis_store, wait_until};
use tempfile::TempDir;

use crate::{
    shop::{self, Orders, Shop},
    tool,
};

/// An nginx that sends each request to the next replica.
struct Nginx {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Nginx {
    fn start(replicas: &[SocketAddr]) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let servers: Vec<_> = replicas.iter().map(|replica| format!("server {replica};")).collect();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: Vec<_> =
            kinds.iter().map(|kind| format!("{kind}_temp_path {};", directory.path().join(kind).display())).collect();
        let (servers, temporary) = (servers.join(" "), temporary.join(" "));
        let configuration = format!(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr; events {{ worker_connections 1024; }}
             http {{ access_log off; {temporary} upstream shop {{ {servers} keepalive 16; }}
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://shop; proxy_http_version 1.1;
             proxy_set_header Connection ''; }} }} }}"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let process = Command::new(program())
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs: tests/run installs it");
        wait_until("nginx to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, _directory: directory }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

/// Debian puts it where only root looks.
fn program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM ends its worker as well.
        support::signal(support::Signal::SIGTERM, &[self.process.id()]);
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_behind_nginx_pass_all_that_can_be_seen() {
    let redis = RedisServer::start();
    let orders = Orders::default();
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let store = redis_store::patient().connect(&redis.url()).await.unwrap();
        replicas.push(shop::serve(Shop::with(store, orders.clone()).routes()).await);
    }
    let nginx = Nginx::start(&replicas);
    let mut arguments = shop::options(nginx.address());
    for replica in &replicas {
        arguments.extend(["--replica".to_owned(), format!("http://{replica}/payments")]);
    }
    arguments.extend(["--strict", "--format", "json"].map(str::to_owned));
    let run = tool::run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    run.is_clean();
    let unseen = run.with(&["not-observable", "not-applicable"]);
    assert!(unseen.iter().all(|line| line.contains("--restart") || line.contains("--expires")), "{unseen:?}");
}
