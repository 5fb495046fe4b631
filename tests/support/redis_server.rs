//! A `redis-server` of a test's own: on a free port of 127.0.0.1, in a directory of its own, gone with the test.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread::sleep,
    time::{Duration, Instant},
};

/// Starting takes some 20 ms; a busy machine may need longer.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Names another server program for all tests, such as one of those that `tests/redis-servers` prints.
const PROGRAM: &str = "IDEMPOTENT_REDIS_SERVER";

pub struct RedisServer {
    port: u16,
    program: String,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    directory: PathBuf,
    process: Option<Child>,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings as on the command line: `&["--maxmemory", "100mb"]`.
    ///
    /// # Panics
    /// When it cannot be started. A test never goes on without its server.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_program(&program(), settings, &[])
    }

    /// Another program than the system's `redis-server`, or with variables in its environment.
    ///
    /// # Panics
    /// As [`start_with`](Self::start_with).
    pub fn start_program(program: &str, settings: &[&str], environment: &[(&str, &str)]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("idempotent-redis-{}-{}", std::process::id(), STARTED.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory for redis-server");
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
        panic!("redis-server did not start in {}: see redis.log there", server.directory.display());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("redis.sock")
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
        let deadline = Instant::now() + STARTS_WITHIN;
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
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Sends one command and gives back the first line of the answer, for example `+OK`.
    pub fn command(&self, parts: &[&str]) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("redis-server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
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
        fs::remove_dir_all(&self.directory).expect("the server's directory");
        let deadline = Instant::now() + STARTS_WITHIN;
        self.set(&["BGSAVE"]);
        while !self.command(&["SET", "probe", "1"]).starts_with("-MISCONF") {
            assert!(Instant::now() < deadline, "snapshots do not fail");
            sleep(Duration::from_millis(10));
        }
    }

    /// Writes down, by MONITOR, the commands that other connections send.
    pub fn monitor(&self) -> Monitor {
        let mut stream = TcpStream::connect(self.address()).expect("redis-server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        stream.write_all(&encode(&["MONITOR"])).expect("redis-server reads");
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).expect("redis-server answers");
        assert_eq!(&ok, b"+OK\r\n");
        Monitor { lines: BufReader::new(stream), port: self.port }
    }

    /// Whether it is up and answers.
    fn spawn(&mut self) -> bool {
        self.launch();
        let Some(process) = self.process.as_mut() else { return false };
        let deadline = Instant::now() + STARTS_WITHIN;
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
        command.arg("redis.log").arg("--unixsocket").arg(self.socket()).arg("--dir").arg(&self.directory);
        command.args(&self.settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {} ({error}): run tests/run, which installs what is missing", self.program)
        });
        self.process = Some(process);
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("redis-server runs");
        let status = Command::new("kill").arg(signal).arg(process.id().to_string()).status().expect("kill(1)");
        assert!(status.success(), "kill {signal}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// See [`RedisServer::monitor`].
pub struct Monitor {
    lines: BufReader<TcpStream>,
    port: u16,
}

impl Monitor {
    /// The names of the commands so far, in capitals; those that a script runs are left out.
    pub fn commands(mut self) -> Vec<String> {
        let end = format!("end-of-monitor-{}", self.port);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("redis-server listens");
        stream.write_all(&encode(&["ECHO", &end])).expect("redis-server reads");
        let mut commands = Vec::new();
        loop {
            let mut line = Vec::new();
            self.lines.read_until(b'\n', &mut line).expect("MONITOR goes on");
            let line = String::from_utf8_lossy(&line);
            if line.contains(&end) {
                return commands;
            }
            // 1700000000.000001 [0 127.0.0.1:54321] "SET" "key" …, and [0 lua] for what a script does
            if let Some((from, command)) = line.split_once("] \"").filter(|(from, _)| !from.ends_with("lua")) {
                assert!(from.contains('['), "{line}");
                commands.push(command.split('"').next().expect("a name").to_uppercase());
            }
        }
    }
}

/// Runs `redis-cli`, which is to succeed.
pub fn redis_cli(parts: &[&str]) -> String {
    let output = Command::new("redis-cli").args(parts).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("cannot run redis-cli ({error}): install it with `apt-get install redis-tools`")
    });
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{parts:?}: {answer}{}", String::from_utf8_lossy(&output.stderr));
    answer
}

/// Asks again and again until the answer is yes, for as long as a busy machine may need.
pub fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + STARTS_WITHIN;
    while !ask() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

fn encode(parts: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len());
    for part in parts {
        out.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    out.into_bytes()
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = [0; 7];
    let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| stream.write_all(b"PING\r\n"));
    asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && matches!(&answer, b"+PONG\r\n" | b"-NOAUTH")
}

/// The server program that tests start unless they name one.
pub fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned())
}

/// The first program that `tests/redis-servers` has fetched whose name begins so, for example with `valkey-9`.
///
/// # Panics
/// When there is none.
pub fn fetched_program(name: &str) -> String {
    let from = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cache = || from("XDG_CACHE_HOME").or_else(|| Some(from("HOME")?.join(".cache")));
    let folder = from("IDEMPOTENT_SERVERS").or_else(|| Some(cache()?.join("idempotent-redis-servers")));
    let found = folder.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
    found.sort();
    let program =
        found.iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
    program.unwrap_or_else(|| panic!("no {name} here: run tests/redis-servers, which fetches it")).display().to_string()
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
