//! The program, as a user runs it.

use std::{collections::BTreeMap, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

/// How a run ended.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs the program with these arguments and nobody who answers its question.
pub(crate) async fn run(arguments: &[&str]) -> Run {
    run_in(arguments, &[]).await
}

pub(crate) async fn run_in(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idempotency-check"));
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { status: output.status.code().unwrap(), output: text(output.stdout), errors: text(output.stderr) }
}

impl Run {
    /// The report, for a run with `--format json`.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|_| panic!("{}{}", self.output, self.errors))
    }

    /// The verdict and the detail of each case.
    pub(crate) fn cases(&self) -> BTreeMap<String, (String, String)> {
        let report = self.report();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let cases = report["cases"].as_array().unwrap().iter();
        cases.map(|case| (text(&case["id"]), (text(&case["verdict"]), text(&case["detail"])))).collect()
    }

    /// The cases with one of these verdicts.
    pub(crate) fn with(&self, verdicts: &[&str]) -> Vec<String> {
        let cases = self.cases().into_iter().filter(|(_, (verdict, _))| verdicts.contains(&verdict.as_str()));
        cases.map(|(id, (_, detail))| format!("{id}: {detail}")).collect()
    }

    /// Nothing failed and nothing differs.
    pub(crate) fn is_clean(&self) {
        assert_eq!(self.with(&["failed", "differs"]), [""; 0], "{}", self.errors);
        assert_eq!(self.status, 0);
    }
}
