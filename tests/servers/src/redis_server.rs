//! A `redis-server` of a test's own: on a free port of 127.0.0.1, in its own directory, gone with the test.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    PATIENCE, Signal, free_port,
    monitor::{Monitor, encode},
    programs::{program, redis_cli},
    signal, wait_until,
};

/// A server; gone when it is dropped.
pub struct RedisServer {
    port: u16,
    program: String,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    directory: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    /// With the defaults, and without a file for its data.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings as on the command line: `&["--maxmemory", "100mb"]`.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_program(&program(), settings, &[])
    }

    /// Another program than the system's `redis-server`, or with variables in its environment.
    pub fn start_program(program: &str, settings: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for redis-server");
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut server = Self { port: 0, program: program.to_owned(), settings, environment, directory, process: None };
        for _ in 0..10 {
            // Somebody else may take the port before the server does; then there is another one.
            server.port = free_port();
            if server.spawn() {
                return server;
            }
        }
        let log = fs::read_to_string(server.directory.path().join("redis.log")).unwrap_or_default();
        panic!("redis-server did not start: {log}");
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The Unix socket that it listens on as well.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// SIGKILL, as a crash or the kernel's out-of-memory killer would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A stopped process is killed all the same.
            process.kill().expect("redis-server is ours to kill");
            process.wait().expect("redis-server ends");
        }
    }

    /// Starts it again on the same port, with an empty memory.
    pub fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + PATIENCE;
        while !self.spawn() {
            assert!(Instant::now() < deadline, "redis-server did not start again on port {}", self.port);
        }
    }

    /// Starts another program in its place, on the same port, with an empty memory.
    pub fn restart_as(&mut self, program: &str) {
        program.clone_into(&mut self.program);
        self.restart();
    }

    /// Kills it and starts it again on the same port, and does not wait until it has read its data.
    pub fn restart_while_it_loads(&mut self) {
        self.kill();
        self.launch();
        let address = self.address();
        wait_until("redis-server to listen", || TcpStream::connect(address).is_ok());
    }

    /// SIGSTOP: the process stands still, and the kernel goes on accepting connections for it.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends one command and gives back the first line of the answer, for example `+OK`.
    pub fn command(&self, parts: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("redis-server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&encode(parts)).expect("redis-server reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("redis-server answers");
        line.trim_end().to_owned()
    }

    /// Whether it runs and answers.
    pub fn is_serving(&self) -> bool {
        self.process.is_some() && answers(self.address())
    }

    /// Sends one command by `redis-cli` and gives back the whole answer.
    pub fn cli(&self, parts: &[&str]) -> String {
        redis_cli(&[&["-p", &self.port.to_string()], parts].concat())
    }

    /// As [`command`](Self::command), for one that must succeed.
    pub fn set(&self, parts: &[&str]) {
        let answer = self.command(parts);
        assert!(!answer.starts_with('-'), "{parts:?}: {answer}");
    }

    /// How often a command was called, by the server's own count. What a script does counts too.
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
    }

    /// Makes a snapshot fail, upon which a server with a `save` setting stops writing.
    pub fn break_snapshots(&self) {
        fs::remove_dir_all(self.directory.path()).expect("the server's directory");
        self.set(&["BGSAVE"]);
        wait_until("snapshots to fail", || self.command(&["SET", "probe", "1"]).starts_with("-MISCONF"));
    }

    /// Writes down, by MONITOR, the commands that other connections send.
    pub fn monitor(&self) -> Monitor {
        Monitor::of(self.address())
    }

    /// Whether it is up and answers.
    fn spawn(&mut self) -> bool {
        self.launch();
        let Some(process) = self.process.as_mut() else { return false };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if process.try_wait().expect("redis-server is our child").is_some() {
                self.process = None;
                return false;
            }
            if answers(SocketAddr::from(([127, 0, 0, 1], self.port))) {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }

    fn launch(&mut self) {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--port").arg(self.port.to_string()).args(["--bind", "127.0.0.1", "--save", "", "--logfile"]);
        command.arg("redis.log").arg("--unixsocket").arg(self.socket()).arg("--dir").arg(self.directory.path());
        command.args(&self.settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {} ({error}): run tests/run, which installs what is missing", self.program)
        });
        self.process = Some(process);
    }

    fn signal(&self, name: Signal) {
        let process = self.process.as_ref().expect("redis-server runs");
        assert!(signal(name, &[process.id()]), "kill {name}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = [0; 7];
    let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| stream.write_all(b"PING\r\n"));
    asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && matches!(&answer, b"+PONG\r\n" | b"-NOAUTH")
}
