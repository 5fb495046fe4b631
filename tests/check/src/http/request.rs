//! A request as its bytes.

use super::Address;

/// A request. Its header lines are sent as they are here, in this order.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    address: Address,
    lines: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// What is special about the body, for the reader of a report, who does not see it.
    variant: &'static str,
}

impl Request {
    pub(crate) fn new(method: &str, address: Address) -> Self {
        Self { method: method.to_owned(), address, lines: Vec::new(), body: Vec::new(), variant: "" }
    }

    pub(crate) fn line(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.lines.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(line, _)| !line.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn with_body(mut self, body: Vec<u8>, variant: &'static str) -> Self {
        (self.body, self.variant) = (body, variant);
        self
    }

    pub(crate) fn to(mut self, address: Address) -> Self {
        self.address = address;
        self
    }

    pub(crate) fn by(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn lines(&self) -> &[(String, Vec<u8>)] {
        &self.lines
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn variant(&self) -> &'static str {
        self.variant
    }

    /// The head as it is sent.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.address.path, self.address.authority());
        head.push_str("User-Agent: idempotency-check/");
        head.push_str(env!("CARGO_PKG_VERSION"));
        head.push_str("\r\n");
        let mut head = head.into_bytes();
        for (name, value) in &self.lines {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if !self.body.is_empty() || !["GET", "HEAD", "DELETE"].contains(&self.method.as_str()) {
            head.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Head and body as they are sent.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
