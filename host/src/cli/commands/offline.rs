//! Commands that look at a file and need no node.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, bytes, clean, clean_lines};
use crate::config::Sources;
use crate::plugin::{CheckReport, check_in_child};
use crate::script::{self, Diagnostic, RunReport, Severity};

/// Says what a plugin file is, and whether it fits. The library is loaded in a child process.
pub(super) async fn plugin_check(file: &Path) -> Result<Answer, Failure> {
    let program = std::env::current_exe().map_err(Failure::io)?;
    Ok(check_answer(&check_in_child(&program, file).await))
}

/// What a check found.
pub(super) fn check_answer(report: &CheckReport) -> Answer {
    let answer = Answer::new("qpq.plugin-check/1", report, describe(report));
    if report.ok { answer } else { answer.failed() }
}

fn describe(report: &CheckReport) -> String {
    let mut text = String::new();
    if let Some(plugin) = &report.plugin {
        text += &clean_lines(&format!(
            "plugin      {} {} ({})\nABI         {}, built with {}\ninterfaces  {}\nlicence     {}\n",
            plugin.id,
            plugin.version,
            plugin.kind,
            plugin.abi,
            plugin.build,
            plugin.interfaces.join(", "),
            plugin.licence,
        ));
    }
    if let Some(plugin) = report.plugin.as_ref().filter(|plugin| !plugin.schemes.is_empty()) {
        text += &clean_lines(&format!("addresses   {}://…\n", plugin.schemes.join("://…, ")));
    }
    if !report.sha256.is_empty() {
        text += &format!("sha256      {}\n", report.sha256);
    }
    match &report.problem {
        None => text += "It fits this host.",
        Some(problem) => {
            text += &clean_lines(&format!(
                "{} does not fit: {}\nfound       {}\nwanted      {}\n{}",
                report.file, problem.code, problem.found, problem.wanted, problem.remedy,
            ));
        }
    }
    text
}

/// Says what is wrong with bots. Warnings alone are no failure.
pub(super) fn script_check(paths: &[PathBuf], style: Style) -> Answer {
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for bot in paths.iter().flat_map(|path| script::bots_at(path)) {
        let found = script::check(&bot);
        if found.is_empty() {
            lines.push(format!("{} is in order.", clean(&bot.path.display().to_string())));
        }
        lines.extend(found.iter().map(|problem| diagnostic(problem, style)));
        problems.extend(found);
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if problems.len() > 1 {
        lines.push(format!("{errors} errors, {} warnings", problems.len() - errors));
    }
    let ok = errors == 0;
    let answer = Answer::new("qpq.script-check/1", &json!({ "ok": ok, "problems": problems }), lines.join("\n"));
    if ok { answer } else { answer.failed() }
}

fn diagnostic(problem: &Diagnostic, style: Style) -> String {
    let place = [problem.line, problem.column].into_iter().flatten().map(|number| format!(":{number}"));
    let place: String = place.collect();
    let severity = match problem.severity {
        Severity::Error => style.alarm("error"),
        Severity::Warning => style.warn("warning"),
    };
    let (file, message) = (clean(&problem.file), clean_lines(&problem.message));
    format!("{file}{place}: {severity}: {message}\n    {}", clean_lines(&problem.help))
}

/// Runs a bot once, with one event, on a node in memory.
pub(super) async fn script_run(setting: &Setting, file: &Path, event: &str) -> Result<Answer, Failure> {
    let event = serde_json::from_str(event).map_err(|error| {
        Failure::Usage(format!("--event is no JSON: {error}. Try --event '{{\"event\": \"start\"}}'."))
    })?;
    // The limits are the node's own, so that what runs here runs there.
    let config = Sources::of_process(setting.home()?).load()?.config;
    let (limits, file) = (config.script_limits(), file.to_owned());
    let run = tokio::task::spawn_blocking(move || script::run_once(&file, &event, &limits));
    let report = run.await.map_err(|error| Failure::new("panicked", format!("The run failed: {error}.")))?;
    let answer = Answer::new("qpq.script-run/1", &report, outcome(&report));
    Ok(if report.outcome == "ok" { answer } else { answer.failed() })
}

fn outcome(report: &RunReport) -> String {
    let memory = bytes(report.memory_bytes);
    let mut text = format!("{}, {:.1} ms of CPU, {memory} of memory", clean(&report.outcome), report.cpu_ms);
    if let Some(error) = &report.error {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        let place = error.file.as_ref().map(|file| format!("{file}{line}: ")).unwrap_or_default();
        text += &format!("\n{}", clean_lines(&format!("{place}{}", error.message)));
    }
    for output in &report.outputs {
        text += &format!("\nsent  {}", clean(&output.to_string()));
    }
    for line in &report.log {
        text += &format!("\nlog   {}", clean(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{ScriptLimits, run_once};

    #[test]
    fn an_error_without_a_file_begins_with_its_words() {
        let event = json!({ "event": "start", "nonsense": 1 });
        let dir = tempfile::tempdir().unwrap();
        let bot = dir.path().join("bot.lua");
        std::fs::write(&bot, "return 1").unwrap();
        let text = outcome(&run_once(&bot, &event, &ScriptLimits::default()));
        assert!(text.contains("\nthe event has no field 'nonsense'"), "{text}");
    }

    #[test]
    fn a_bot_that_is_not_there_is_told_how_to_be_named() {
        let answer = script_check(&[PathBuf::from("no-bot-is-called-so")], Style::PLAIN);
        assert!(answer.show(false).contains("name a bot's file or folder"), "{}", answer.show(false));
    }
}
