//! A PostgreSQL for one test: on a free port of 127.0.0.1, in its own directory. Both are removed with the test.

use std::{
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{Signal, free_port, signal};

/// Starting takes a second. A busy machine may need longer.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Runs the server until the standard input of this script ends. It ends when the test drops it or dies in any way.
/// Then sends SIGQUIT by pid, which also ends the server's children. The first argument is the directory to remove.
const WATCH: &str = r#"
directory=$1; shift
"$@" >"$directory/postgres.log" 2>&1 &
cat >/dev/null
# A test that failed may have left it stopped. A stopped process does not see that it is to end.
kill -CONT $! $(cat /proc/$!/task/$!/children) 2>/dev/null
kill -QUIT $! 2>/dev/null
wait $!
rm -rf "$directory"
"#;

/// A server. It ends when this is dropped, or when the process ends in any way.
pub struct Postgres {
    port: u16,
    directory: PathBuf,
    /// The command that starts it, without a shell.
    program: Vec<OsString>,
    /// One script for each start. Each removes the directory when it ends.
    watches: Vec<Child>,
}

impl Postgres {
    /// A server that all tests of a binary share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server that does not write its files through to the disk.
    pub fn start() -> Self {
        // No test simulates a loss of power.
        Self::start_with(&["fsync=off"])
    }

    /// A server with the given settings, each `name=value`.
    pub fn start_with(settings: &[&str]) -> Self {
        let programs = programs();
        let user = unprivileged();
        // Another program may take the port before the server does. Then another port is tried.
        for _ in 0..5 {
            if let Some(server) = Self::start_on(free_port(), &programs, user, settings) {
                return server;
            }
        }
        panic!("postgres did not start five times over");
    }

    fn start_on(port: u16, programs: &Path, user: Option<(u32, u32)>, settings: &[&str]) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("idempotent-postgres-").tempdir().expect("a directory").keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("a directory of ours");
        // PostgreSQL refuses to run as root.
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).expect("root may give a directory away");
        }
        let as_user = |program: &str| -> Vec<OsString> {
            let path = programs.join(program).into_os_string();
            let Some((uid, gid)) = user else { return vec![path] };
            let become_it = ["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"];
            become_it.into_iter().map(OsString::from).chain([path]).collect()
        };
        let data = directory.join("data");
        let initdb = as_user("initdb");
        let mut initdb = command(&initdb, &directory);
        initdb.args(["--auth=trust", "--username=test", "--encoding=UTF8", "--no-sync", "--no-instructions", "-D"]);
        let made = initdb.arg(&data).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let mut program = as_user("postgres");
        program.push("-D".into());
        program.push(data.into());
        let own = ["-p", &port.to_string(), "-h", "127.0.0.1", "-k", "", "-c", "max_connections=300"];
        program.extend(own.iter().chain(settings.iter().flat_map(|setting| [&"-c", setting])).map(OsString::from));
        let mut server = Self { port, directory, program, watches: Vec::new() };
        server.launch();
        let log = server.directory.join("postgres.log");
        server.comes_up(|| fs::read_to_string(&log).is_ok_and(|text| text.contains("FATAL"))).then_some(server)
    }

    fn launch(&mut self) {
        let watch: Vec<OsString> = ["sh", "-c", WATCH, "sh"].map(OsString::from).to_vec();
        let mut server = command(&watch, &self.directory);
        server.arg(&self.directory).args(&self.program);
        self.watches.push(server.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh runs"));
    }

    /// Ends it at once, as a crash does. Nothing is finished, and the next start recovers from the log.
    pub fn crash(&mut self) {
        let postmaster = self.postmaster();
        assert!(signal(Signal::SIGQUIT, &[postmaster]), "postgres runs");
        Self::wait(|| !Path::new(&format!("/proc/{postmaster}")).exists());
    }

    /// Starts it again after a [`crash`](Self::crash).
    pub fn restart(&mut self) {
        self.launch();
        // Clients that connect too early are logged as FATAL.
        assert!(self.comes_up(|| false), "postgres did not start again");
    }

    /// Sends SIGSTOP to the server and each of its processes.
    pub fn freeze(&self) {
        // The process that starts the others is stopped first, so that it starts none in the meantime.
        let postmaster = self.postmaster();
        signal(Signal::SIGSTOP, &[postmaster]);
        assert!(Self::wait(|| servers::stands_still(postmaster)), "postgres stops");
        // One of the processes may end in the meantime.
        signal(Signal::SIGSTOP, &self.processes());
    }

    /// Sends SIGCONT to them.
    pub fn thaw(&self) {
        signal(Signal::SIGCONT, &self.processes());
    }

    fn postmaster(&self) -> u32 {
        let text = fs::read_to_string(self.directory.join("data/postmaster.pid")).expect("it runs");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    fn processes(&self) -> Vec<u32> {
        let postmaster = self.postmaster();
        let children =
            fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).expect("its children");
        let children = children.split_whitespace().map(|child| child.parse().expect("a process id"));
        std::iter::once(postmaster).chain(children).collect()
    }

    fn wait(mut done: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + STARTS_WITHIN;
        while Instant::now() < deadline {
            if done() {
                return true;
            }
            sleep(Duration::from_millis(20));
        }
        false
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        Self::url_at(self.address(), "postgres")
    }

    /// The URL of a database through another address, for example a proxy.
    pub fn url_at(address: SocketAddr, database: &str) -> String {
        format!("postgres://test@{address}/{database}?sslmode=disable")
    }

    /// Makes an empty database and returns its name.
    pub async fn database(&self) -> String {
        let name = format!("d{}", uuid::Uuid::new_v4().simple());
        let mut connection =
            <sqlx::PgConnection as sqlx::Connection>::connect(&self.url()).await.expect("a connection");
        sqlx::raw_sql(&format!("CREATE DATABASE {name}")).execute(&mut connection).await.expect("a database");
        name
    }

    /// Makes an empty database and returns its URL.
    pub async fn new_url(&self) -> String {
        Self::url_at(self.address(), &self.database().await)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("postgres.log")).expect("its log")
    }

    fn comes_up(&self, failed: impl Fn() -> bool) -> bool {
        let pid = self.directory.join("data/postmaster.pid");
        let ready = || fs::read_to_string(&pid).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready"));
        let mut up = false;
        Self::wait(|| {
            up = ready() && TcpStream::connect(self.address()).is_ok();
            up || failed()
        });
        up
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for watch in self.watches.iter_mut().rev() {
            drop(watch.stdin.take());
            let _ = watch.wait();
        }
    }
}

fn command(words: &[OsString], directory: &Path) -> Command {
    let (program, arguments) = words.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// The newest version that Debian has installed, or the programs in the path.
fn programs() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = versions.into_iter().rev().chain(std::env::split_paths(&path)).find(|dir| has_all(dir));
    found.expect("no PostgreSQL is installed: install it with `apt-get install postgresql`")
}

fn has_all(directory: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| directory.join(program).exists())
}

/// The user as whom root runs the server: the one that the package made, or nobody.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("id(1)");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let of = |user| Some((id(&["-u", user])?, id(&["-g", user])?));
    Some(of("postgres").unwrap_or((65_534, 65_534)))
}
