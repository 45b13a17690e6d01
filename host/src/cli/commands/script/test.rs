//! `script test`: bots on a virtual mesh with a virtual clock.

use std::path::PathBuf;

use crate::cli::answer::Answer;
use crate::cli::args::TestScriptArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, clean, clean_lines, duration};
use crate::script::{TestOrder, TestReport, TestRun, run_tests};

/// Columns for the name of a test.
const NAME_COLUMNS: usize = 58;

pub(super) async fn run(args: TestScriptArgs, style: Style) -> Result<Answer, Failure> {
    // Small numbers are easier to type again.
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let order = TestOrder { paths: args.paths.clone(), seed, filter: args.filter };
    let ran = tokio::task::spawn_blocking(move || run_tests(&order)).await;
    let ran = ran.map_err(|error| Failure::new("panicked", format!("The tests failed: {error}.")))?;
    let run = ran.map_err(|error| Failure::new("no-tests", error))?;
    if run.tests.is_empty() {
        let text = "No tests there. A test of hello.lua stands in hello_test.lua beside it, that of a folder in it; \
                    host/docs/script-test.md shows how to write one.";
        return Err(Failure::new("no-tests", text));
    }
    let answer = Answer::new("qpq.script-test/1", &run, text(&run, &args.paths, style));
    Ok(if run.ok { answer } else { answer.failed() })
}

/// A line for each test under the name of its file, and below it what went wrong.
fn text(run: &TestRun, paths: &[PathBuf], style: Style) -> String {
    let (mut text, mut file) = (String::new(), None);
    for test in &run.tests {
        if file.replace(&test.file) != Some(&test.file) {
            text += &format!("{}\n", style.bold(&clean(&test.file)));
        }
        text += &format!("{}\n", line(test, style));
    }
    let seconds = run.wall_ms as f64 / 1_000.0;
    text += &format!("\n{} passed, {} failed in {seconds:.2} s (seed {}).", run.passed, run.failed, run.seed);
    if !run.ok {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        text += &clean_lines(&format!("\nAgain: qpq script test {} --seed {}", paths.join(" "), run.seed));
    }
    text
}

fn line(test: &TestReport, style: Style) -> String {
    let time = if test.virtual_secs < 60.0 {
        format!("{:.2} s", test.virtual_secs)
    } else {
        duration(test.virtual_secs as u64)
    };
    let name = clean(&test.name);
    let Some(error) = &test.error else {
        return format!("  ✓ {name:<NAME_COLUMNS$} {}", style.dim(&time));
    };
    let place = match (&error.file, error.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        _ => String::new(),
    };
    let mut text = format!("  ✗ {name:<NAME_COLUMNS$} {time}");
    text += &format!("\n      {}", style.alarm(&clean(&format!("{place}{}", error.message))));
    for detail in &test.details {
        text += &format!("\n      {}", clean(detail));
    }
    text
}
