//! Shell commands that repeat what a case sent. Keys, credentials and bodies are variables, unless they may be shown.

use std::fmt::Write as _;

use super::Report;
use crate::{
    http::{Cut, Request},
    service::{How, Sent},
};

/// No case needs more commands to be understood.
const MAX_COMMANDS: usize = 6;

pub(super) fn commands(report: &Report<'_>, sent: &[Sent]) -> String {
    let mut names = Names::new(report);
    let lines: Vec<String> = sent
        .iter()
        .take(MAX_COMMANDS)
        .map(|sent| around(sent.how, &command(report, &mut names, &sent.request)))
        .collect();
    let mut text = names.definitions();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn command(report: &Report<'_>, names: &mut Names<'_>, request: &Request) -> String {
    let mut text = "curl -i".to_owned();
    if request.method() != "POST" || request.body().is_empty() {
        let _ = write!(text, " -X {}", request.method());
    }
    if let (true, Some(file)) = (request.address().is_tls, &report.target.authority) {
        let _ = write!(text, " --cacert {}", quoted(&file.display().to_string()));
    }
    let _ = write!(text, " {}", quoted(&request.address().to_string()));
    for (name, value) in request.lines() {
        // curl sends a header without a value only if it is written so.
        let value = names.header(name, &String::from_utf8_lossy(value));
        let line = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        let _ = write!(text, " -H \"{line}\"");
    }
    if !request.body().is_empty() {
        let _ = write!(text, " --data-binary {}", names.body(request));
    }
    text
}

fn around(how: How, command: &str) -> String {
    let quiet = command.replacen("curl -i", "curl -s -o /dev/null -w '%{http_code}\\n'", 1);
    match how {
        How::Whole => command.to_owned(),
        How::AtOnce(count) => format!("for i in $(seq {count}); do {quiet} & done; wait"),
        How::OnOneConnection(count) => {
            format!("for i in $(seq {count}); do {quiet} & done; wait   # sent on one connection")
        }
        How::Cut(Cut::BeforeBody | Cut::InBody) => {
            format!(
                "{}   # broken off before the end of the body",
                command.replacen("curl -i", "curl -i -m 0.1 --limit-rate 10", 1)
            )
        }
        How::Cut(Cut::AfterBody | Cut::While(_)) => {
            format!("{}   # the client leaves", command.replacen("curl -i", "curl -i -m 0.1", 1))
        }
        How::Cut(Cut::InResponse) => format!("{command} | head -c 1   # the response is lost"),
        How::Slowly => {
            format!("{} &   # the body arrives slowly", command.replacen("curl -i", "curl -i --limit-rate 20", 1))
        }
    }
}

/// The variables that stand for what is not shown.
struct Names<'r> {
    report: &'r Report<'r>,
    keys: Vec<String>,
    bodies: Vec<(Vec<u8>, &'static str)>,
    callers: Vec<&'static str>,
}

impl<'r> Names<'r> {
    fn new(report: &'r Report<'r>) -> Self {
        Self { report, keys: Vec::new(), bodies: Vec::new(), callers: Vec::new() }
    }

    /// The value of a header inside double quotes.
    fn header(&mut self, name: &str, value: &str) -> String {
        let target = self.report.target;
        if name.eq_ignore_ascii_case(&target.key_header) {
            return self.key(value);
        }
        if self.report.show || name.eq_ignore_ascii_case("content-type") {
            return in_double_quotes(value);
        }
        for (caller, variable) in [(&target.auth, "AUTH"), (&target.other_auth, "OTHER_AUTH")] {
            if caller.as_deref() == Some(value) {
                if !self.callers.contains(&variable) {
                    self.callers.push(variable);
                }
                return format!("${variable}");
            }
        }
        let is_given =
            [&target.slow, &target.failing, &target.limited].into_iter().flatten().any(|line| line.1 == value);
        if is_given { in_double_quotes(value) } else { "…".to_owned() }
    }

    /// The key, with a variable for each UUID in it: each run of the commands then has a new one.
    fn key(&mut self, value: &str) -> String {
        let mut text = in_double_quotes(value);
        for start in 0..value.len() {
            let Some(part) = value.get(start..start + 36) else { continue };
            let is_uuid = uuid::Uuid::try_parse(part).is_ok_and(|uuid| !uuid.is_nil());
            if is_uuid && !self.keys.iter().any(|key| key == part) {
                self.keys.push(part.to_owned());
            }
        }
        for (number, key) in (1..).zip(&self.keys) {
            text = text.replace(key.as_str(), &format!("${{{}}}", numbered("KEY", number)));
        }
        text
    }

    fn body(&mut self, request: &Request) -> String {
        if self.report.show {
            return quoted(&String::from_utf8_lossy(request.body()));
        }
        let known = self.bodies.iter().position(|(body, _)| body == request.body());
        let index = known.unwrap_or_else(|| {
            self.bodies.push((request.body().to_vec(), request.variant()));
            self.bodies.len() - 1
        });
        format!("\"${}\"", numbered("BODY", index + 1))
    }

    fn definitions(&self) -> String {
        let mut text = String::new();
        for (number, _) in (1..).zip(&self.keys) {
            let _ = writeln!(text, "{}=$(uuidgen)", numbered("KEY", number));
        }
        for caller in &self.callers {
            let option = if *caller == "AUTH" { "--auth" } else { "--other-auth" };
            let _ = writeln!(text, "{caller}='…'   # {option}");
        }
        for (number, (_, variant)) in (1..).zip(&self.bodies) {
            let _ = writeln!(text, "{}='…'   # your body {variant}", numbered("BODY", number));
        }
        text.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

fn numbered(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}{number}") }
}

/// A word of the shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:.-_=[]%,@".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn in_double_quotes(text: &str) -> String {
    ['\\', '"', '$', '`'].iter().fold(text.to_owned(), |text, mark| text.replace(*mark, &format!("\\{mark}")))
}
