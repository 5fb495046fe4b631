//! A `PgBouncer` for one test, on a free port of 127.0.0.1, before a Postgres.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::free_port;

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A pooler. It ends when this is dropped.
pub struct PgBouncer {
    port: u16,
    process: Child,
    _directory: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one with this `pool_mode` in front of a server.
    pub fn start(mode: &str, server: SocketAddr) -> Self {
        // Another program may take the port before it does. Then another port is tried.
        (0..5).find_map(|_| Self::start_on(free_port(), mode, server)).expect("PgBouncer did not start five times over")
    }

    fn start_on(port: u16, mode: &str, server: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a directory of ours");
        let settings = format!(
            "[databases]\n* = host={} port={} user=test\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = any\npool_mode = {mode}\nunix_socket_dir =\nignore_startup_parameters = extra_float_digits\n",
            server.ip(),
            server.port()
        );
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("a file");
        let mut command = Command::new("pgbouncer");
        // It refuses to run as root.
        command.args(["-q", "-u", "nobody"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("no PgBouncer is installed: install it with `apt-get install pgbouncer`");
        let mut bouncer = Self { port, process, _directory: directory };
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(bouncer.address()).is_err() {
            if Instant::now() > deadline || bouncer.has_ended() {
                return None;
            }
            sleep(Duration::from_millis(20));
        }
        (!bouncer.has_ended()).then_some(bouncer)
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
