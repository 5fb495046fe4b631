//! The commands that a server is asked to carry out.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::PATIENCE;

/// What a server is asked from now on; see [`RedisServer::monitor`](crate::redis_server::RedisServer::monitor).
pub struct Monitor {
    lines: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Monitor {
    pub(crate) fn of(server: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(server).expect("redis-server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&encode(&["MONITOR"])).expect("redis-server reads");
        let mut ok = [0; 5];
        stream.read_exact(&mut ok).expect("redis-server answers");
        assert_eq!(&ok, b"+OK\r\n");
        Self { lines: BufReader::new(stream), server }
    }

    /// The names of the commands so far, in capitals; those that a script runs are left out.
    pub fn commands(mut self) -> Vec<String> {
        let end = format!("end-of-monitor-{}", self.server.port());
        let mut stream = TcpStream::connect(self.server).expect("redis-server listens");
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

/// A command in the protocol of Redis.
pub(crate) fn encode(parts: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len());
    for part in parts {
        out.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    out.into_bytes()
}
