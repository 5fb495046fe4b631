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

const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// A pooler. It ends when this is dropped.
pub struct PgBouncer {
    port: u16,
    process: Child,
    _directory: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one with this `pool_mode` in front of a server.
    pub fn start(mode: &str, server: SocketAddr) -> Self {
        let (port, directory) = (free_port(), tempfile::tempdir().expect("a directory"));
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
        let bouncer = Self { port, process, _directory: directory };
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(bouncer.address()).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer did not start");
            sleep(Duration::from_millis(20));
        }
        bouncer
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
