//! `script …`

mod test;

use super::{Connect, offline};
use crate::api::BotStatus;
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::ScriptCommand;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, bytes, clean};

pub(super) async fn run(setting: &Setting, connect: Connect<'_>, command: ScriptCommand) -> Result<Answer, Failure> {
    match command {
        ScriptCommand::List => Ok(list(&connect()?.scripts().await?, setting.style)),
        ScriptCommand::Reload { name } => Ok(list(&connect()?.script_reload(name).await?, setting.style)),
        ScriptCommand::Check { path } => Ok(offline::script_check(&path)),
        ScriptCommand::Run { file, event } => offline::script_run(setting, &file, &event).await,
        ScriptCommand::Test(args) => test::run(args, setting.style).await,
    }
}

fn list(bots: &[BotStatus], style: Style) -> Answer {
    Answer::list("qpq.scripts/1", "scripts", bots, bot_table(bots, style))
}

/// The bots, and below them what is wrong with each.
pub(super) fn bot_table(bots: &[BotStatus], style: Style) -> String {
    let mut table = Table::new(&["BOT", "STATE", "COMMANDS", "CHANNELS", "EVENTS", "ERRORS", "CPU", "MEMORY", "SENT"]);
    for bot in bots {
        table.row([
            bot.name.clone(),
            bot.state.clone(),
            bot.commands.iter().map(|command| format!("!{command}")).collect::<Vec<_>>().join(" "),
            bot.topics.join(", "),
            bot.events.to_string(),
            bot.errors.to_string(),
            format!("{} ms", bot.cpu_ms),
            bytes(bot.memory_bytes),
            bot.sent.to_string(),
        ]);
    }
    let mut text = table.show(style, "No bots.");
    for bot in bots {
        if let Some(problem) = &bot.problem {
            text += &format!("\n{}: {}", clean(&bot.name), style.alarm(&clean(problem)));
        }
    }
    text
}
