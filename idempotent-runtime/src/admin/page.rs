//! The content of the pages. Every value from outside goes through [`text`].

use std::fmt::Write as _;

use axum::http::Method;

use super::{
    answer::{page, text},
    find::{Found, Stored},
    in_flight::InFlight,
    inspect::Inspection,
};

/// The page with the form.
pub(super) fn index(named: &[(Method, String)], base: &str) -> String {
    let mut handlers = String::new();
    for (method, route) in named {
        let handler = text(&format!("{method} {route}"));
        let _ = write!(handlers, "<option value=\"{handler}\">{handler}</option>");
    }
    let list = if handlers.is_empty() {
        String::new()
    } else {
        format!("<label>Handler <select name=\"handler\"><option value=\"\">any</option>{handlers}</select></label>")
    };
    let route_is_needed = if handlers.is_empty() { " required" } else { "" };
    let other = if handlers.is_empty() { "Route" } else { "Another route" };
    let base = text(base);
    let main = format!(
        "<form method=\"post\" action=\"{base}/lookup\" autocomplete=\"off\">\
         <label>Idempotency-Key <input name=\"key\" required autofocus></label>\
         <label class=\"check\"><input type=\"checkbox\" name=\"exact\" value=\"true\"> exactly as typed, for a handler \
         with <code>key = …</code></label>\
         <label>Scope <input name=\"scope\" aria-describedby=\"scope\"></label>\
         <p id=\"scope\">What the handler's <code>scope</code> gives, such as the user's id. Empty if it has none.</p>\
         {list}\
         <label>{other} <input name=\"route\" placeholder=\"/payments/{{id}}/refund\"{route_is_needed}></label>\
         <label>Method of that route <input name=\"method\" value=\"POST\"></label>\
         <button>Look up</button></form><p><a href=\"{base}/in-flight\">What is in flight</a></p>"
    );
    page(Some(&base), "Idempotency keys", &main)
}

/// The page with what runs in this process.
pub(super) fn in_flight(base: &str, now: &InFlight) -> String {
    let InFlight { requests, running, attempts } = now;
    let mut main = format!(
        "<p>In this process: {requests} requests with a key, {running} of them in their handlers. The others wait for a \
         first attempt or for the store.</p>"
    );
    if !attempts.is_empty() {
        main.push_str("<table><tr><th>Handler</th><th>Age</th><th>In logs</th><th></th></tr>");
        for one in attempts {
            let mark = match (one.lost, one.recovering) {
                (true, _) => "its claim may be lost",
                (false, true) => "took over",
                (false, false) => "",
            };
            let (handler, age, digest) = (text(one.handler), one.age_seconds, &one.digest);
            let _ = write!(
                main,
                "<tr><td>{handler}</td><td>{age} s</td><td><code>{digest}</code></td><td>{mark}</td></tr>"
            );
        }
        main.push_str("</table>");
    }
    page(Some(base), "In flight", &main)
}

/// The page with what is known of a key.
pub(super) fn found(show_responses: bool, base: &str, found: &[Found<'_>]) -> String {
    if found.is_empty() {
        let main = "<p>None of the handlers that this page lists knows this key. Check the scope. The record may also have \
                    expired.</p>";
        return page(Some(base), "Not known", main);
    }
    let mut main = String::new();
    for one in found {
        let (title, meaning) = meaning(&one.state);
        let _ = write!(
            main,
            "<section><h2>{} {}</h2><p><strong>{title}</strong> {meaning}</p><p>In logs: <code>{}</code></p>",
            text(one.method.as_str()),
            text(&one.route),
            one.digest
        );
        if matches!(one.state, Inspection::Finished { .. }) && show_responses {
            main.push_str(&form(base, "response", "Show the response…", one, false));
        }
        if !matches!(one.state, Inspection::Absent | Inspection::Running { .. }) {
            main.push_str(&form(base, "forget", "Forget it…", one, false));
        }
        main.push_str("</section>");
    }
    page(Some(base), "What is known of this key", &main)
}

/// The name of a state, and what a retry gets.
fn meaning(state: &Inspection) -> (&'static str, String) {
    match state {
        Inspection::Absent => ("Not known.", "A retry runs as a first attempt.".to_owned()),
        Inspection::Running { left } => (
            "Running.",
            format!(
                "{} ms of its lease are left. The lease is renewed while it runs. A retry gets 409 or waits.",
                left.as_millis()
            ),
        ),
        Inspection::Died => (
            "Stopped without reporting a result.",
            "Its effects are unknown. A retry runs as a recovering attempt, or gets 409.".to_owned(),
        ),
        Inspection::Finished { status, bytes } => {
            ("Finished.", format!("With status {status}; {bytes} bytes are stored. A retry gets the same response."))
        }
        Inspection::FinishedWithoutBody { .. } => (
            "Finished, without a response to replay.",
            "It was too large or had no end. A retry gets 409 <code>not-replayable</code>.".to_owned(),
        ),
        Inspection::Unreadable => {
            ("Unreadable.", "The record cannot be read. A retry gets 500 <code>record-unreadable</code>.".to_owned())
        }
    }
}

/// A form with one button, for one request.
fn form(base: &str, action: &str, button: &str, one: &Found<'_>, confirm: bool) -> String {
    let scope = one.scope.unwrap_or_default();
    let (base, key, scope, method, route) =
        (text(base), text(one.key), text(scope), text(one.method.as_str()), text(&one.route));
    format!(
        "<form method=\"post\" action=\"{base}/{action}\"><input type=\"hidden\" name=\"key\" value=\"{key}\">\
         <input type=\"hidden\" name=\"exact\" value=\"true\">\
         <input type=\"hidden\" name=\"scope\" value=\"{scope}\"><input type=\"hidden\" name=\"method\" value=\"{method}\">\
         <input type=\"hidden\" name=\"route\" value=\"{route}\"><input type=\"hidden\" name=\"confirm\" value=\"{confirm}\">\
         <button>{button}</button></form>"
    )
}

pub(super) fn confirm_forgetting(base: &str, one: &Found<'_>) -> String {
    let (title, _) = meaning(&one.state);
    let main = format!(
        "<p>{} {}: <strong>{title}</strong></p><p>A retry will run as a first attempt. Before you go on, find out what the \
         request did, and undo it. If a journal has its response, a retry still gets that response.</p>{}",
        text(one.method.as_str()),
        text(&one.route),
        form(base, "forget", "Forget it", one, true)
    );
    page(Some(base), "Forget this request?", &main)
}

pub(super) fn confirm_showing(base: &str, one: &Found<'_>) -> String {
    let main = format!(
        "<p>It is the response that the client got, and it may contain personal data. Showing it is logged.</p>{}",
        form(base, "response", "Show the response", one, true)
    );
    page(Some(base), "Show the stored response?", &main)
}

pub(super) fn response(base: &str, stored: &Stored, most: usize) -> String {
    let mut main = format!("<p>Status {}</p><pre>", stored.status);
    for (name, value) in &stored.headers {
        let _ = writeln!(main, "{}: {}", text(name), text(value));
    }
    let _ = write!(main, "</pre><pre>{}</pre>", text(&stored.body));
    if stored.truncated {
        let _ = write!(main, "<p>The first {most} bytes of the body.</p>");
    }
    page(Some(base), "The stored response", &main)
}

pub(super) fn told(base: &str, title: &str, sentence: &str) -> String {
    page(Some(base), title, &format!("<p>{sentence}</p>"))
}
