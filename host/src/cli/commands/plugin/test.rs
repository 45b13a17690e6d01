//! `plugin test`: the conformance kit.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failed::Failed;
use crate::cli::answer::{Answer, print_line};
use crate::cli::args::TestPluginArgs;
use crate::cli::commands::offline;
use crate::cli::failure::Failure;
use crate::cli::term::clean_lines;
use crate::plugin::{CheckReport, Order, TrialReport, check_in_child, trials, try_in_child};

/// What all tests found.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    id: &'a str,
    kind: &'a str,
    seed: u64,
    ok: bool,
    passed: usize,
    failed: usize,
    skipped: usize,
    tests: &'a [TrialReport],
}

/// Runs the tests. With `json` nothing is printed before the end.
pub(super) async fn run(args: TestPluginArgs, json: bool) -> Result<Answer, Failure> {
    let program = std::env::current_exe().map_err(Failure::io)?;
    let check = check_in_child(&program, &args.file).await;
    let (Some(plugin), true) = (&check.plugin, check.ok) else { return Ok(offline::check_answer(&check)) };
    let (id, kind) = (plugin.id.clone(), plugin.kind.clone());
    if args.list {
        return Ok(list(&kind));
    }
    let config = serde_json::from_str(&args.config)
        .map_err(|error| Failure::Usage(format!("--config is no JSON: {error}. Try --config '{{\"port\": 1}}'.")))?;
    let memory = Failed::of(&args.file);
    let (names, seed) = chosen(&args, &memory)?;
    known(&names, &kind)?;
    let copy = Copy::make(&args.file)?;
    let order = Order { file: copy.0.clone(), seed, config, listen: args.listen, dial: args.dial, ..Order::default() };
    let file = args.file.clone();
    let reports = tokio::task::spawn_blocking(move || try_all(&program, &file, &kind, &names, order, json));
    let reports = reports.await.map_err(|error| Failure::new("panicked", format!("The tests failed: {error}.")))??;
    drop(copy);
    let failed: Vec<String> =
        reports.iter().filter(|report| report.outcome == "failed").map(|report| report.name.clone()).collect();
    memory.keep(seed, &failed, &reports.iter().map(|report| report.name.as_str()).collect::<Vec<_>>());
    Ok(answer(&args.file, &check, &id, seed, &reports, json))
}

fn list(kind: &str) -> Answer {
    let (mut text, mut tests) = (String::new(), Vec::new());
    for trial in trials(kind) {
        text += &format!("{:<20} {}\n", trial.name, trial.promise);
        tests.push(serde_json::json!({ "name": trial.name, "promise": trial.promise }));
    }
    Answer::list("qpq.plugin-tests/1", "tests", &tests, text)
}

/// The names of the tests to run, none for all, and the seed.
fn chosen(args: &TestPluginArgs, memory: &Failed) -> Result<(Vec<String>, u64), Failure> {
    // Small numbers are easier to type again.
    let fresh = || u64::from(rand::random::<u32>());
    if !args.only_failed {
        return Ok((args.only.clone(), args.seed.unwrap_or_else(fresh)));
    }
    let (failed, seed) = memory.read().ok_or_else(|| {
        Failure::Usage(
            "No test of this file failed the last time, or none was run. Leave --only-failed out.".to_owned(),
        )
    })?;
    Ok((failed, args.seed.unwrap_or(seed)))
}

fn known(names: &[String], kind: &str) -> Result<(), Failure> {
    let all = trials(kind);
    match names.iter().find(|name| !all.iter().any(|trial| trial.name == **name)) {
        None => Ok(()),
        Some(name) => Err(Failure::Usage(format!(
            "There is no test `{name}` for plugins of kind {kind}. `qpq plugin test FILE --list` shows all."
        ))),
    }
}

fn try_all(
    program: &Path,
    file: &Path,
    kind: &str,
    names: &[String],
    mut order: Order,
    json: bool,
) -> Result<Vec<TrialReport>, Failure> {
    let mut reports = Vec::new();
    for trial in trials(kind).iter().filter(|trial| names.is_empty() || names.iter().any(|name| name == trial.name)) {
        trial.name.clone_into(&mut order.trial);
        let report = try_in_child(program, trial, &order);
        if !json {
            print_line(&line(&report, file, order.seed))?;
        }
        reports.push(report);
    }
    Ok(reports)
}

fn line(report: &TrialReport, file: &Path, seed: u64) -> String {
    let why = report.why.as_deref().unwrap_or_default();
    let mut text = match report.outcome.as_str() {
        "passed" => format!("✓ {:<20} {}", report.name, report.promise),
        "skipped" => format!("– {:<20} skipped: {why}", report.name),
        _ => format!("✗ {:<20} {}\n    found  {why}", report.name, report.promise),
    };
    if let Some(mend) = &report.mend {
        text += &format!("\n    mend   {mend}");
        for printed in &report.printed {
            text += &format!("\n    said   {printed}");
        }
        text += &format!("\n    again  qpq plugin test {} --only {} --seed {seed}", file.display(), report.name);
    }
    clean_lines(&text)
}

fn answer(file: &Path, check: &CheckReport, id: &str, seed: u64, tests: &[TrialReport], json: bool) -> Answer {
    let count = |outcome: &str| tests.iter().filter(|report| report.outcome == outcome).count();
    let (passed, failed, skipped) = (count("passed"), count("failed"), count("skipped"));
    let kind = check.plugin.as_ref().map(|plugin| plugin.kind.as_str()).unwrap_or_default();
    let report = Report { file, id, kind, seed, ok: failed == 0, passed, failed, skipped, tests };
    let mut text = format!("{id}: {passed} passed, {failed} failed, {skipped} skipped (seed {seed}).");
    if failed > 0 && !json {
        text += &format!("\nOnce you changed it: qpq plugin test {} --only-failed", file.display());
    }
    let answer = Answer::new("qpq.plugin-test/1", &report, clean_lines(&text));
    if failed == 0 { answer } else { answer.failed() }
}

/// A copy of the library, which nobody builds anew while the tests run. It is removed when this is dropped.
struct Copy(PathBuf);

impl Copy {
    fn make(file: &Path) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("qpq-plugin-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).map_err(Failure::io)?;
        let copy = Self(folder.join("plugin.so"));
        std::fs::copy(file, &copy.0).map_err(Failure::io)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
