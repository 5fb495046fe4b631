//! Checks from outside whether an HTTP endpoint with an `Idempotency-Key` is safe to retry.

mod case;
mod cases;
mod effects;
mod http;
mod json;
mod judge;
mod openapi;
mod options;
mod preflight;
mod report;
mod run;
mod service;
mod target;

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

use case::{Case, Verdict};
use options::{CommandLine, Format, RunOptions};
use report::Report;
use run::Plan;
use service::Service;
use target::Target;

/// The status of a run that could not be.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(check()));
    ended.unwrap_or_else(|error| {
        eprintln!("idempotency-check: {error}");
        ExitCode::from(COULD_NOT_RUN)
    })
}

async fn check() -> Result<ExitCode, String> {
    let arguments = CommandLine::parse();
    let cases = cases::chosen(&arguments.run.only)?;
    if arguments.run.list {
        print(&report::list(&cases))?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target::new(arguments.service()?)?;
    let mut service = Service::new(&target)?;
    let plan = Plan::new(&cases, &target);
    announce(&service, plan, &arguments.run)?;
    if arguments.run.dry_run {
        print(&report::plan(&cases, &target))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.run.yes {
        ask()?;
    }
    preflight::look(&mut service).await?;
    let outcomes = run::cases(&service, &cases, arguments.run.strict, |number, case| {
        progress(number, cases.len(), case);
    })
    .await?;
    clear_progress();
    let report = Report::new(&service, outcomes, arguments.run.show);
    let text = match arguments.run.format {
        Format::Table => report::table(&report),
        Format::Junit => report::junit(&report),
        Format::Json => report::json(&report)?,
        Format::Html => report::html(&report),
    };
    match &arguments.run.output {
        None => print(&text)?,
        Some(file) => {
            fs::write(file, text).map_err(|error| format!("--output {}: {error}", file.display()))?;
            eprintln!("{}", report::summary(&report));
        }
    }
    Ok(if report.count(Verdict::Failed) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what will be sent before anything is sent.
fn announce(service: &Service<'_>, plan: Plan, run: &RunOptions) -> Result<(), String> {
    let target = service.target;
    eprintln!("idempotency-check {}: {} {}", env!("CARGO_PKG_VERSION"), target.method, target.address()?);
    eprintln!(
        "{} cases send about {} requests, at most {}, for at most {}. A service that keeps all rules carries out {}.",
        plan.cases,
        plan.requests,
        target.max_requests,
        humantime::format_duration(target.max_time),
        plan.operations,
    );
    for warning in preflight::warnings(service) {
        eprintln!("Note: {warning}");
    }
    if plan.cases == 0 && !run.dry_run {
        return Err("none of the chosen cases can be run with these options; --dry-run says what they need".to_owned());
    }
    Ok(())
}

fn ask() -> Result<(), String> {
    if !io::stdin().is_terminal() {
        return Err("nothing was sent: nobody can be asked here, so say --yes".to_owned());
    }
    eprint!("Send them? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| error.to_string())?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err("nothing was sent".to_owned()) }
}

/// On a terminal one line that changes, elsewhere nothing: the report has it all.
fn progress(number: usize, total: usize, case: &Case) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K[{}/{total}] {} {}", number + 1, case.id, case.rule);
    }
}

fn clear_progress() {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K");
    }
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
