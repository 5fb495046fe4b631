//! The blocks of the README, and its commands.

use std::process::Command;

pub(crate) const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language, in order.
pub(crate) fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The commands that the README shows, each with its output.
pub(crate) fn session() -> Vec<(&'static str, String)> {
    let runs = blocks("console")[0].split("$ ").skip(1);
    runs.map(|run| run.split_once('\n').unwrap()).map(|(command, output)| (command, in_order(output))).collect()
}

/// The output of a command that is not told that the store is not available: on a busy machine its response may be late.
pub(crate) fn printed_by(command: &str, address: &str) -> String {
    let print = || print_once(command, address);
    std::iter::repeat_with(print).take(50).find(|text| !text.contains(" 503 ")).unwrap_or_else(print)
}

/// The output of a command, without the date, and with the headers in a fixed order.
fn print_once(command: &str, address: &str) -> String {
    let command = command.replace("127.0.0.1:3000", address).replace("curl ", "curl -sS ");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    in_order(&text)
}

/// A response as `curl -i` prints it, with sorted headers, since their order does not matter.
fn in_order(response: &str) -> String {
    let (head, body) = response.split_once("\n\n").unwrap();
    let mut headers: Vec<_> = head.lines().skip(1).filter(|line| !line.starts_with("date: ")).collect();
    headers.sort_unstable();
    format!("{}\n{}\n\n{body}", head.lines().next().unwrap(), headers.join("\n"))
}
