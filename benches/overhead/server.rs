//! A server in its own process, so that its processor time can be measured alone.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use axum::serve::ListenerExt;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use tokio::net::TcpListener;

use crate::{
    case::{Backend, Variant},
    variants::router,
};

/// Serves until standard input ends. Answers each line of input with the processor time so far, in microseconds.
pub(crate) fn serve(variant: Variant, backend: Backend, redis: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let address = runtime.block_on(async {
        let router = router(variant, backend, redis).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    });
    println!("{address}");
    for line in std::io::stdin().lines() {
        line.unwrap();
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        println!("{}", micros(usage.user_time()) + micros(usage.system_time()));
    }
}

fn micros(time: TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}

/// This program, started again as a process that answers lines.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    pub(crate) fn read(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the process has ended");
        line.trim().to_owned()
    }

    pub(crate) fn ask(&mut self) -> String {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        self.read()
    }

    /// The processor time that a server has used.
    pub(crate) fn processor_time(&mut self) -> Duration {
        Duration::from_micros(self.ask().parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process ends when its input ends.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
