//! The service to check, as its options describe it.

use std::{env, fs, path::PathBuf, time::Duration};

use crate::{
    http::{Address, Request},
    json, openapi,
    options::{KeyFormat, ServiceOptions},
};

/// Stands for a value that is new for each operation.
const UNIQUE: &str = "{{unique}}";

pub(crate) struct Target {
    /// With `{{unique}}`, if the user wrote it.
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) content_type: String,
    /// With `{{unique}}`, if the user wrote it.
    pub(crate) body: String,
    pub(crate) other_body: Option<String>,
    pub(crate) invalid: Option<String>,
    pub(crate) headers: Vec<Line>,
    pub(crate) key_header: String,
    pub(crate) key_format: KeyFormat,
    pub(crate) auth_header: String,
    pub(crate) auth: Option<String>,
    pub(crate) other_auth: Option<String>,
    pub(crate) effects: Effects,
    pub(crate) settle: Duration,
    pub(crate) replicas: Vec<Address>,
    pub(crate) slow: Option<Line>,
    pub(crate) failing: Option<Line>,
    pub(crate) limited: Option<Line>,
    pub(crate) other_url: Option<Address>,
    pub(crate) other_method: Option<String>,
    pub(crate) restart: Option<String>,
    pub(crate) expires: Option<Duration>,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) max_requests: u32,
    pub(crate) max_time: Duration,
}

/// A header: its name and its value.
pub(crate) type Line = (String, String);

/// How to count what the requests did.
pub(crate) enum Effects {
    Unknown,
    At { url: Address, pointer: Option<String> },
    By { command: String },
}

impl Target {
    pub(crate) fn new(options: ServiceOptions) -> Result<Self, String> {
        let mut url = options.url.ok_or("give the URL of the endpoint; --help shows the options")?;
        let (mut method, mut body) = (options.method, text_or_file("--body", options.body)?);
        match (&options.openapi, &options.operation) {
            (Some(file), Some(name)) => {
                let operation = openapi::find(file, name)?;
                url = format!("{}{}", url.trim_end_matches('/'), operation.path);
                method = method.or(Some(operation.method));
                body = body.or(operation.body);
            }
            (None, None) => {}
            (Some(_), None) => return Err("--openapi needs --operation".to_owned()),
            (None, Some(_)) => return Err("--operation needs --openapi".to_owned()),
        }
        Address::parse(&url.replace(UNIQUE, "x"))?;
        let body = body.unwrap_or_default();
        let mut other_body = text_or_file("--other-body", options.other_body)?;
        if let Some(member) = &options.vary {
            other_body = Some(json::varied(&body, member)?);
        }
        let auth_header = options.auth_header.unwrap_or_else(|| "Authorization".to_owned());
        let key_header = options.key_header.unwrap_or_else(|| "Idempotency-Key".to_owned());
        for (option, name) in [("--auth-header", &auth_header), ("--key-header", &key_header)] {
            if !is_header_name(name) {
                return Err(format!("{option}: `{name}` is not the name of a header"));
            }
        }
        let effects = match (options.effects, options.effects_command) {
            (Some(url), None) => Effects::At { url: Address::parse(&url)?, pointer: options.effects_at },
            (None, Some(command)) => Effects::By { command },
            (None, None) => Effects::Unknown,
            (Some(_), Some(_)) => return Err("give --effects or --effects-command, not both".to_owned()),
        };
        let headers = options.header.iter().map(|line| header("--header", line)).collect::<Result<_, _>>()?;
        let one = |name, line: Option<String>| line.map(|line| header(name, &line)).transpose();
        let secret = |value: Option<String>| value.map(|value| from_environment(&value)).transpose();
        Ok(Self {
            url,
            method: method.unwrap_or_else(|| "POST".to_owned()).to_ascii_uppercase(),
            content_type: options.content_type.unwrap_or_else(|| "application/json".to_owned()),
            body,
            other_body,
            invalid: text_or_file("--invalid", options.invalid)?,
            headers,
            key_header,
            key_format: options.key_format.unwrap_or_default(),
            auth_header,
            auth: secret(options.auth)?,
            other_auth: secret(options.other_auth)?,
            effects,
            settle: options.settle.unwrap_or(Duration::from_millis(50)),
            replicas: options.replica.iter().map(|url| Address::parse(url)).collect::<Result<_, _>>()?,
            slow: one("--slow", options.slow)?,
            failing: one("--failing", options.failing)?,
            limited: one("--limited", options.limited)?,
            other_url: options.other_url.map(|url| Address::parse(&url)).transpose()?,
            other_method: options.other_method.map(|method| method.to_ascii_uppercase()),
            restart: options.restart,
            expires: options.expires,
            authority: options.ca,
            timeout: options.timeout.unwrap_or(Duration::from_secs(10)),
            max_requests: options.max_requests.unwrap_or(1000),
            max_time: options.max_time.unwrap_or(Duration::from_secs(300)),
        })
    }

    /// The URL, for messages.
    pub(crate) fn address(&self) -> Result<Address, String> {
        Address::parse(&self.url.replace(UNIQUE, "unique"))
    }

    pub(crate) fn is_json(&self) -> bool {
        serde_json::from_str::<serde_json::Value>(&self.body).is_ok()
    }

    /// The request of one operation, without a key.
    pub(crate) fn request(&self, unique: &str) -> Result<Request, String> {
        let address = Address::parse(&self.url.replace(UNIQUE, unique))?;
        let mut request = Request::new(&self.method, address);
        if !self.body.is_empty() {
            request = request.line("Content-Type", &self.content_type);
        }
        for (name, value) in &self.headers {
            request = request.line(name, value.replace(UNIQUE, unique));
        }
        if let Some(caller) = &self.auth {
            request = request.line(&self.auth_header, caller);
        }
        Ok(request.with_body(filled(&self.body, unique), ""))
    }

    /// Another body for the same operation.
    pub(crate) fn other_body(&self, unique: &str) -> Option<Vec<u8>> {
        self.other_body.as_ref().map(|body| filled(body, unique))
    }

    /// What identifies the callers, without the scheme in front.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &str> {
        let values = [&self.auth, &self.other_auth].into_iter().flatten();
        values.map(|value| value.split_once(' ').map_or(value.as_str(), |(_, credential)| credential))
    }
}

pub(crate) fn filled(text: &str, unique: &str) -> Vec<u8> {
    text.replace(UNIQUE, unique).into_bytes()
}

fn text_or_file(option: &str, value: Option<String>) -> Result<Option<String>, String> {
    let Some(value) = value else { return Ok(None) };
    match value.strip_prefix('@') {
        None => Ok(Some(value)),
        Some(file) => fs::read_to_string(file).map(Some).map_err(|error| format!("{option} @{file}: {error}")),
    }
}

fn header(option: &str, line: &str) -> Result<Line, String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("{option}: write it as 'Name: value'"))?;
    if !is_header_name(name) {
        return Err(format!("{option}: `{name}` is not the name of a header"));
    }
    Ok((name.to_owned(), from_environment(value.trim())?))
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn from_environment(value: &str) -> Result<String, String> {
    let value = match value.strip_prefix("env:") {
        None => value.to_owned(),
        Some(name) => env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?,
    };
    if value.contains(['\r', '\n', '\0']) {
        return Err("the value of a header is one line".to_owned());
    }
    Ok(value)
}
