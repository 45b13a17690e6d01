//! `script approve`: what a bot asks for, and the admin's yes.

use std::io::{BufRead, Write};

use super::bot;
use crate::api::{BotStatus, NodeApi, ScriptApproval};
use crate::cli::answer::Answer;
use crate::cli::args::ApproveArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, clean};
use crate::cli::{Setting, interactive};
use crate::script::manifest::{Permissions, check_need, meaning};

/// Longest answer to a question that is read, in bytes.
const ANSWER_BYTES: u64 = 64;

pub(super) async fn run(node: &dyn NodeApi, setting: &Setting, args: ApproveArgs) -> Result<Answer, Failure> {
    if let Some(wrong) = args.needs.iter().find_map(|need| check_need(need).err()) {
        return Err(Failure::Usage(wrong));
    }
    let asking = bot(node, &args.name).await?;
    // Exactly what was shown is granted, whatever the bot asks for by then.
    let wanted = if args.needs.is_empty() { asking.needs.clone() } else { args.needs.clone() };
    if !args.revoke && !args.trust && args.needs.is_empty() && asking.missing.is_empty() && asking.denied.is_empty() {
        let text = format!("{} has all that it asks for. Nothing to approve.", clean(&asking.name));
        return Ok(Answer::new("qpq.script-approval/1", &asking, text));
    }
    if !args.yes {
        let question = question(&asking, &wanted, &args, setting.style);
        if setting.json || !interactive() {
            let text = format!("{question}\nNothing was changed. Say it with --yes where nobody can be asked.");
            return Err(Failure::Usage(text));
        }
        if !confirmed(&question)? {
            return Err(Failure::new("not-approved", "Nothing was changed."));
        }
    }
    let needs = if args.revoke { Vec::new() } else { wanted };
    let approval = ScriptApproval { needs, revoke: args.revoke, trusted: args.trust };
    let after = node.script_approve(args.name, approval).await?;
    let answer = Answer::new("qpq.script-approval/1", &after, outcome(&after, setting.style));
    let done = args.revoke || after.state == "running";
    Ok(if done { answer } else { answer.failed() })
}

/// What is at stake, each permission with what it allows.
fn question(bot: &BotStatus, wanted: &[String], args: &ApproveArgs, style: Style) -> String {
    let version = bot.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut text = format!("{} ({})\n", style.bold(&clean(&format!("{}{version}", bot.name))), clean(&bot.path));
    if args.revoke {
        return text
            + "All that was granted to it is taken back. It stops if it asks for more than a bot may have anyway.";
    }
    let wide = wanted.iter().map(|need| need.chars().count()).max().unwrap_or(0);
    for need in wanted {
        let new = match need {
            need if bot.missing.contains(need) => style.warn("  new"),
            need if bot.denied.contains(need) => style.warn("  not granted before"),
            _ => String::new(),
        };
        let need = clean(need);
        text += &format!("  {need:<wide$}  {}{new}\n", meaning(&need));
    }
    let granted = Permissions::new(wanted.to_vec());
    let asked = Permissions::new([bot.missing.clone(), bot.denied.clone()].concat());
    for need in asked.missing_from(&granted) {
        text += &format!("  without {}, for which it asks too\n", clean(&need));
    }
    if args.trust {
        text +=
            "It will run inside the node's own process: a fault of the Lua machine itself could then reach the node.\n";
    }
    text.trim_end().to_owned()
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    write!(out, "{question}\nGo on? [y/N] ").and_then(|()| out.flush()).map_err(Failure::io)?;
    let mut line = String::new();
    let stdin = std::io::stdin().lock();
    std::io::Read::take(stdin, ANSWER_BYTES).read_line(&mut line).map_err(Failure::io)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes" | "Yes"))
}

fn outcome(bot: &BotStatus, style: Style) -> String {
    let name = clean(&bot.name);
    let mut text = format!("{name} is {}.", clean(&bot.state));
    if bot.state == "running" && !bot.denied.is_empty() {
        text = super::without(bot);
    }
    if let Some(waits) = super::waiting(bot) {
        text += &format!("\n{}", style.alarm(&format!("{name} {waits}.")));
    } else if let Some(problem) = &bot.problem {
        text += &format!("\n{}", style.alarm(&clean(problem)));
    }
    text
}
