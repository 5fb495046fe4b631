//! HTTP/1.1 written by hand, for requests that no client library would send, and for clients that hang up.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// A server that answers before it has read everything may close the connection meanwhile. Its answer can still be
    /// read, so a failed write is no error here.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    /// Reads until the text has come, or to the end of the connection. Returns all that was read.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        soon(text, async {
            let mut buffer = [0; 4096];
            loop {
                match self.0.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => read.extend_from_slice(&buffer[..length]),
                }
                if String::from_utf8_lossy(&read).contains(text) {
                    break;
                }
            }
        })
        .await;
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Reads to the end of the connection; the request should say `Connection: close`.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        // A connection that is reset has ended, too.
        let _ = soon("the end of the connection", self.0.read_to_end(&mut read)).await;
        String::from_utf8_lossy(&read).into_owned()
    }
}
