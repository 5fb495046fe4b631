//! One connection.

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Address, Answer, NoAnswer, Request, response::Framing, tls::Tls};

/// The longest head, and the longest body.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 8 * 1024 * 1024;
/// The most responses of 1xx before the response.
const MAX_INTERIM: u32 = 16;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// What was received and not used yet.
    received: BytesMut,
}

impl Connection {
    pub(super) async fn open(address: &Address, tls: &Tls) -> Result<Self, NoAnswer> {
        let failed = |source| NoAnswer::Unreachable { address: address.authority(), source };
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = if address.is_tls {
            let failed = |source| NoAnswer::Tls { address: address.authority(), source };
            Box::new(tls.handshake(&address.host, stream).await.map_err(failed)?)
        } else {
            Box::new(stream)
        };
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Writes as much as the service takes. A service may answer and close before it has read everything, so the answer
    /// decides whether that is an error.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// Reads one response.
    pub(super) async fn read(&mut self, request: &Request) -> Result<Answer, NoAnswer> {
        let mut interim = 0;
        loop {
            let Some((mut answer, length)) = Answer::parse(&self.received)? else {
                self.receive(MAX_HEAD).await?;
                continue;
            };
            self.received.advance(length);
            // 1xx: the response is still to come.
            if (100..200).contains(&answer.status) {
                interim += 1;
                if interim > MAX_INTERIM {
                    return Err(NoAnswer::NotHttp("it announces a response again and again".to_owned()));
                }
                continue;
            }
            answer.body = match answer.framing(request.method())? {
                Framing::Length(length) => self.read_exactly(length).await?,
                Framing::Chunked => self.read_chunks().await?,
                Framing::UntilClosed => self.read_all().await?,
            };
            return Ok(answer);
        }
    }

    /// Reads until anything has arrived.
    pub(super) async fn read_some(&mut self) -> Result<(), NoAnswer> {
        self.receive(MAX_HEAD).await
    }

    pub(super) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, NoAnswer> {
        if length > MAX_BODY {
            return Err(NoAnswer::TooLong(MAX_BODY));
        }
        while self.received.len() < length {
            self.receive(usize::MAX).await?;
        }
        Ok(self.received.split_to(length).into())
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, NoAnswer> {
        let wrong = || NoAnswer::NotHttp("a chunk of the body has no valid size".to_owned());
        let mut body = Vec::new();
        loop {
            let (start, size) = match httparse::parse_chunk_size(&self.received).map_err(|_| wrong())? {
                httparse::Status::Complete((start, size)) => (start, usize::try_from(size).map_err(|_| wrong())?),
                httparse::Status::Partial => {
                    self.receive(MAX_HEAD).await?;
                    continue;
                }
            };
            if size.saturating_add(body.len()) > MAX_BODY {
                return Err(NoAnswer::TooLong(MAX_BODY));
            }
            self.received.advance(start);
            if size == 0 {
                self.read_trailers().await?;
                return Ok(body);
            }
            let mut chunk = self.read_exactly(size + 2).await?;
            chunk.truncate(size);
            body.append(&mut chunk);
        }
    }

    /// Reads the lines after the last chunk, up to the empty one.
    async fn read_trailers(&mut self) -> Result<(), NoAnswer> {
        loop {
            match self.received.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => {
                    self.received.advance(end + 2);
                    if end == 0 {
                        return Ok(());
                    }
                }
                None => self.receive(MAX_HEAD).await?,
            }
        }
    }

    async fn read_all(&mut self) -> Result<Vec<u8>, NoAnswer> {
        loop {
            match self.receive(MAX_BODY).await {
                Ok(()) => {}
                Err(NoAnswer::Closed) => return Ok(self.received.split().into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives more bytes, unless there are so many already.
    async fn receive(&mut self, limit: usize) -> Result<(), NoAnswer> {
        if self.received.len() >= limit {
            return Err(NoAnswer::TooLong(limit));
        }
        // An error ends the connection as well, such as an end of TCP without the end of TLS.
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) | Err(_) => Err(NoAnswer::Closed),
            Ok(_) => Ok(()),
        }
    }
}
