//! A response, and what its head says about its body.

use super::NoAnswer;

/// A response that was received as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The names are in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

impl Answer {
    /// Reads a head. `None` if it has not arrived as a whole. Otherwise also the length of the head.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, NoAnswer> {
        let mut lines = [httparse::EMPTY_HEADER; 128];
        let mut head = httparse::Response::new(&mut lines);
        let parsed = head.parse(bytes).map_err(|error| NoAnswer::NotHttp(error.to_string()))?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let headers = head.headers.iter().map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())).collect();
        Ok(Some((Self { status: head.code.unwrap_or_default(), headers, body: Vec::new() }, length)))
    }

    pub(super) fn framing(&self, method: &str) -> Result<Framing, NoAnswer> {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if self.text("transfer-encoding").is_some_and(|codings| codings.to_ascii_lowercase().ends_with("chunked")) {
            return Ok(Framing::Chunked);
        }
        match self.text("content-length") {
            None => Ok(Framing::UntilClosed),
            Some(length) => match length.trim().parse() {
                Ok(length) => Ok(Framing::Length(length)),
                Err(_) => Err(NoAnswer::NotHttp("Content-Length is not a number".to_owned())),
            },
        }
    }

    /// Whether the connection ends with this response.
    pub(crate) fn closes(&self) -> bool {
        self.text("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }

    /// The first line with this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(line, _)| line == name).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.header(name)?).ok()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// 4xx: refused, and the client is to change something or wait.
    pub(crate) fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status)
    }

    pub(crate) fn is_html(&self) -> bool {
        self.text("content-type").is_some_and(|kind| kind.starts_with("text/html"))
    }
}
