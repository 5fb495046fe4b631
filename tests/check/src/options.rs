//! What the user writes: on the command line, in a file, or both.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Deserializer};

/// Checks from outside whether an HTTP endpoint with an Idempotency-Key is safe to retry.
#[derive(Debug, Parser)]
#[command(name = "idempotency-check", version, after_help = AFTER_HELP)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) service: ServiceOptions,

    #[command(flatten)]
    pub(crate) run: RunOptions,
}

const AFTER_HELP: &str = "\
In URL, headers and bodies, {{unique}} stands for a value that is new for each operation and the same in its retries.
A header or credential may be written as env:NAME: then the environment variable NAME has it.

Exit status: 0 if nothing failed, 1 if a case failed, 2 if the check could not run.";

/// The service. The same names, with their values as strings, are the keys of the file.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ServiceOptions {
    /// The endpoint; with --openapi, the service's base URL
    pub(crate) url: Option<String>,

    /// [default: POST]
    #[arg(short = 'X', long, help_heading = "Request")]
    pub(crate) method: Option<String>,
    /// A body that the service accepts, or @FILE
    #[arg(short, long, help_heading = "Request")]
    pub(crate) body: Option<String>,
    /// The media type of the body [default: application/json]
    #[arg(long, value_name = "TYPE", help_heading = "Request")]
    pub(crate) content_type: Option<String>,
    /// Another header of every request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = "Request")]
    pub(crate) header: Vec<String>,
    /// The header that carries the key [default: Idempotency-Key]
    #[arg(long, value_name = "NAME", help_heading = "Request")]
    pub(crate) key_header: Option<String>,
    /// What the keys are [default: uuid]
    #[arg(long, value_name = "FORMAT", help_heading = "Request")]
    pub(crate) key_format: Option<KeyFormat>,
    /// Take method, path and body from this OpenAPI document: a JSON file
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    pub(crate) openapi: Option<PathBuf>,
    /// The operation of that document: its operationId, or "POST /payments"
    #[arg(long, value_name = "NAME", help_heading = "Request")]
    pub(crate) operation: Option<String>,

    /// A URL to GET that tells how often the request was carried out: a number, a list, or JSON with --effects-at
    #[arg(long, value_name = "URL", help_heading = "More cases")]
    pub(crate) effects: Option<String>,
    /// Where the number or the list is in that JSON, such as /data/total
    #[arg(long, value_name = "POINTER", help_heading = "More cases")]
    pub(crate) effects_at: Option<String>,
    /// Instead of a URL: a shell command that prints the number
    #[arg(long, value_name = "COMMAND", help_heading = "More cases")]
    pub(crate) effects_command: Option<String>,
    /// How long the service may need until an effect is counted [default: 50ms]
    #[arg(long, value_name = "TIME", help_heading = "More cases")]
    #[serde(deserialize_with = "duration")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) settle: Option<Duration>,
    /// The member of the JSON body that may have another value: NAME, NAME.NAME or NAME=VALUE
    #[arg(long, value_name = "MEMBER", help_heading = "More cases")]
    pub(crate) vary: Option<String>,
    /// Instead of --vary: another body that the service accepts, or @FILE
    #[arg(long, value_name = "BODY", help_heading = "More cases")]
    pub(crate) other_body: Option<String>,
    /// The caller: the value of Authorization
    #[arg(long, value_name = "VALUE", help_heading = "More cases")]
    pub(crate) auth: Option<String>,
    /// Another caller
    #[arg(long, value_name = "VALUE", help_heading = "More cases")]
    pub(crate) other_auth: Option<String>,
    /// The header that identifies callers [default: Authorization]
    #[arg(long, value_name = "NAME", help_heading = "More cases")]
    pub(crate) auth_header: Option<String>,
    /// The same endpoint on another replica; may be repeated
    #[arg(long, value_name = "URL", help_heading = "More cases")]
    pub(crate) replica: Vec<String>,
    /// A header that makes the request take half a second or longer
    #[arg(long, value_name = "NAME: VALUE", help_heading = "More cases")]
    pub(crate) slow: Option<String>,
    /// A header that makes the service answer 5xx
    #[arg(long, value_name = "NAME: VALUE", help_heading = "More cases")]
    pub(crate) failing: Option<String>,
    /// A header that makes the service answer 429
    #[arg(long, value_name = "NAME: VALUE", help_heading = "More cases")]
    pub(crate) limited: Option<String>,
    /// A body that the service refuses, or @FILE [default: malformed JSON]
    #[arg(long, value_name = "BODY", help_heading = "More cases")]
    pub(crate) invalid: Option<String>,
    /// Another endpoint that accepts the same body
    #[arg(long, value_name = "URL", help_heading = "More cases")]
    pub(crate) other_url: Option<String>,
    /// Another method that the endpoint has
    #[arg(long, value_name = "METHOD", help_heading = "More cases")]
    pub(crate) other_method: Option<String>,
    /// A shell command that restarts the service
    #[arg(long, value_name = "COMMAND", help_heading = "More cases")]
    pub(crate) restart: Option<String>,
    /// How long a response is kept, such as 2s: the check waits for that time
    #[arg(long, value_name = "TIME", help_heading = "More cases")]
    #[serde(deserialize_with = "duration")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) expires: Option<Duration>,

    /// Trust the certificates of this file too
    #[arg(long, value_name = "FILE", help_heading = "Limits")]
    pub(crate) ca: Option<PathBuf>,
    /// How long one exchange may take [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    #[serde(deserialize_with = "duration")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// The most requests that are sent [default: 1000]
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub(crate) max_requests: Option<u32>,
    /// How long the whole check may take [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    #[serde(deserialize_with = "duration")]
    #[arg(value_parser = humantime::parse_duration)]
    pub(crate) max_time: Option<Duration>,
}

/// What the tool does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
#[allow(clippy::struct_excessive_bools)] // each is a switch of the command line
pub(crate) struct RunOptions {
    /// Read the options above from this TOML file; those of the command line go before
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Ask nothing
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only these cases or groups, such as replay/3,keys; may be repeated
    #[arg(long, value_name = "CASES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// A SHOULD that is not met fails, too
    #[arg(long)]
    pub(crate) strict: bool,
    /// List the cases with their sources and end
    #[arg(long)]
    pub(crate) list: bool,
    /// Say what would be sent and end
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What the report looks like
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write the report into this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show keys, credentials and bodies in the report
    #[arg(long)]
    pub(crate) show: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    Junit,
    Json,
    Html,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyFormat {
    /// A random UUID, version 4
    #[default]
    Uuid,
    /// A UUID with the time, version 7
    Uuidv7,
    /// A random UUID in quotes, as the draft writes keys
    Quoted,
}

impl CommandLine {
    /// The service's options, completed by those of the file.
    pub(crate) fn service(&self) -> Result<ServiceOptions, String> {
        let Some(file) = &self.run.config else { return Ok(self.service.clone()) };
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
        let from_file = toml::from_str(&text).map_err(|error| wrong(&error))?;
        Ok(self.service.clone().or(from_file))
    }
}

impl ServiceOptions {
    fn or(self, other: Self) -> Self {
        let list = |ours: Vec<String>, theirs| if ours.is_empty() { theirs } else { ours };
        Self {
            url: self.url.or(other.url),
            method: self.method.or(other.method),
            body: self.body.or(other.body),
            content_type: self.content_type.or(other.content_type),
            header: list(self.header, other.header),
            key_header: self.key_header.or(other.key_header),
            key_format: self.key_format.or(other.key_format),
            openapi: self.openapi.or(other.openapi),
            operation: self.operation.or(other.operation),
            effects: self.effects.or(other.effects),
            effects_at: self.effects_at.or(other.effects_at),
            effects_command: self.effects_command.or(other.effects_command),
            settle: self.settle.or(other.settle),
            vary: self.vary.or(other.vary),
            other_body: self.other_body.or(other.other_body),
            auth: self.auth.or(other.auth),
            other_auth: self.other_auth.or(other.other_auth),
            auth_header: self.auth_header.or(other.auth_header),
            replica: list(self.replica, other.replica),
            slow: self.slow.or(other.slow),
            failing: self.failing.or(other.failing),
            limited: self.limited.or(other.limited),
            invalid: self.invalid.or(other.invalid),
            other_url: self.other_url.or(other.other_url),
            other_method: self.other_method.or(other.other_method),
            restart: self.restart.or(other.restart),
            expires: self.expires.or(other.expires),
            ca: self.ca.or(other.ca),
            timeout: self.timeout.or(other.timeout),
            max_requests: self.max_requests.or(other.max_requests),
            max_time: self.max_time.or(other.max_time),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}
