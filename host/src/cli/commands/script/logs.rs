//! `script logs`

use std::time::Duration;

use crate::api::{NodeApi, ScriptLogLine, ScriptLogQuery};
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::ScriptLogsArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, clean, clock, now_ms};

/// How long one question for new lines waits in the node, in milliseconds.
const WAIT_MS: u64 = 20_000;
/// Between two questions without an answer, in case the node doesn't wait.
const PAUSE: Duration = Duration::from_millis(20);

fn first(args: &ScriptLogsArgs) -> ScriptLogQuery {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    ScriptLogQuery { bot: args.name.clone(), limit, ..ScriptLogQuery::default() }
}

/// Shows the newest lines.
pub(super) async fn show(node: &dyn NodeApi, args: &ScriptLogsArgs, style: Style) -> Result<Answer, Failure> {
    let page = node.script_logs(first(args)).await?;
    let lines: Vec<String> = page.lines.iter().map(|line| line_text(line, args, style)).collect();
    let text = if lines.is_empty() { "Nothing was logged.".to_owned() } else { lines.join("\n") };
    Ok(Answer::new("qpq.script-logs/1", &page, text))
}

/// Lines as they come.
pub(in crate::cli) struct Follow {
    args: ScriptLogsArgs,
}

impl Follow {
    pub(super) fn new(args: ScriptLogsArgs) -> Self {
        Self { args }
    }

    /// Prints lines, without end.
    pub(in crate::cli::commands) async fn run(
        self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut query = first(&self.args);
        loop {
            let page = node.script_logs(query).await?;
            for line in &page.lines {
                if setting.json {
                    print(&Answer::new("qpq.script-log-line/1", line, "").show(true))?;
                } else {
                    print(&line_text(line, &self.args, setting.style))?;
                }
            }
            if page.lines.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            let bot = self.args.name.clone();
            query = ScriptLogQuery { bot, after: Some(page.next_after), limit: 0, wait_ms: WAIT_MS };
        }
    }
}

/// A line for a person: time, bot, level, what the bot did and where, the text.
fn line_text(line: &ScriptLogLine, args: &ScriptLogsArgs, style: Style) -> String {
    let when = style.dim(&clock(line.at_ms, now_ms()));
    let word = format!("{:<5}", clean(&line.level));
    let level = match line.level.as_str() {
        "error" => style.alarm(&word),
        "warn" => style.warn(&word),
        "debug" => style.dim(&word),
        _ => word,
    };
    let place = [&line.event, &line.place].into_iter().flatten().map(|part| clean(part)).collect::<Vec<_>>().join(" ");
    let place = if place.is_empty() { place } else { format!(" {}", style.dim(&place)) };
    // What the host says about a bot begins with its name, which stands there already.
    let (bot, said) = (clean(&line.bot), clean(&line.text));
    let said = said.strip_prefix(&format!("{bot}: ")).unwrap_or(&said);
    let mut text = format!("{when} {level} {}{place}: {said}", style.bold(&bot));
    if args.traceback {
        for call in line.traceback.iter().flat_map(|calls| calls.lines()) {
            text += &format!("\n    {}", style.dim(&clean(call)));
        }
    }
    text
}
