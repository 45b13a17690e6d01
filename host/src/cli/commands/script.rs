//! `script …`

mod approve;
mod editor;
mod help;
pub(super) mod logs;
pub(super) mod lua;
mod new;
pub(super) mod place;
mod test;
pub(super) mod top;

use super::{Connect, Follow, Outcome, offline};
use crate::api::{BotStatus, NodeApi};
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::{ScriptCommand, TestScriptArgs};
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, bytes, clean};
use crate::script::nearest;

pub(super) async fn run(setting: &Setting, connect: Connect<'_>, command: ScriptCommand) -> Result<Outcome, Failure> {
    let answer = match command {
        ScriptCommand::List => list(&connect()?.scripts().await?, setting.style),
        ScriptCommand::Reload { name } => reloaded(&connect()?.script_reload(name).await?, setting.style),
        ScriptCommand::New(args) => new::run(setting, connect, &args).await?,
        ScriptCommand::Check { paths } => {
            let paths = if paths.is_empty() {
                vec![place::scripts_dir(setting, connect).await]
            } else {
                place::bots(paths, setting, connect).await
            };
            offline::script_check(&paths, setting.style)
        }
        ScriptCommand::Run { file, event } => {
            let file = place::bots(vec![file.clone()], setting, connect).await.pop().unwrap_or(file);
            offline::script_run(setting, &file, &event).await?
        }
        ScriptCommand::Test(args) => {
            let paths = place::bots(args.paths.clone(), setting, connect).await;
            test::run(TestScriptArgs { paths, ..args }, setting.style).await?
        }
        ScriptCommand::Approve(args) => approve::run(&*connect()?, setting, args).await?,
        ScriptCommand::Logs(args) => {
            let node = connect()?;
            if let Some(name) = &args.name {
                bot(&*node, name).await?;
            }
            if args.follow {
                return Ok(Outcome::Follow(Follow::Logs(logs::Follow::new(args))));
            }
            logs::show(&*node, &args, setting.style).await?
        }
        ScriptCommand::Top(args) => match top::Watch::wanted(&args, setting) {
            Some(watch) => return Ok(Outcome::Follow(Follow::Top(watch))),
            None => top::show(&*connect()?, args.name.as_deref(), setting.style).await?,
        },
        ScriptCommand::Repl(args) => {
            let node = connect()?;
            bot(&*node, &args.name).await?;
            let session = lua::Session::new(args.name, args.write);
            match args.eval {
                None => return Ok(Outcome::Lua(session)),
                Some(code) => session.once(&*node, code).await?,
            }
        }
        ScriptCommand::Help { call } => help::run(call.as_deref())?,
        ScriptCommand::Editor { dir } => editor::run(setting, connect, dir).await?,
    };
    Ok(answer.into())
}

/// The bot of that name, or who was probably meant.
async fn bot(node: &dyn NodeApi, name: &str) -> Result<BotStatus, Failure> {
    let bots = node.scripts().await?;
    if let Some(bot) = bots.iter().find(|bot| bot.name == name) {
        return Ok(bot.clone());
    }
    let near = nearest(name, bots.iter().map(|bot| bot.name.as_str()));
    let near = near.map_or(String::from(";"), |near| format!("; did you mean `{}`?", clean(near)));
    let text = format!("There is no bot `{}`{near} `script list` shows them.", clean(name));
    Err(Failure::new("unknown-bot", text))
}

fn list(bots: &[BotStatus], style: Style) -> Answer {
    Answer::list("qpq.scripts/1", "scripts", bots, bot_table(bots, style))
}

/// The same after they were loaded anew: a failure when one of them could not be. One that waits for approval is none.
fn reloaded(bots: &[BotStatus], style: Style) -> Answer {
    let answer = list(bots, style);
    let is_wrong = |bot: &BotStatus| bot.problem.is_some() && bot.missing.is_empty();
    if bots.iter().any(is_wrong) { answer.failed() } else { answer }
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
    let mut text = table.show(style, "No bots. `qpq script new NAME` writes one.");
    for bot in bots {
        let name = clean(&bot.name);
        if let Some(waits) = waiting(bot) {
            text += &format!("\n{name}: {}", style.alarm(&waits));
        } else if let Some(problem) = &bot.problem {
            let problem = clean(problem);
            let problem = problem.strip_prefix(&format!("{name}: ")).unwrap_or(&problem);
            text += &format!("\n{name}: {}", style.alarm(problem));
        } else if !bot.denied.is_empty() {
            text += &format!("\n{}", without(bot));
        }
    }
    text
}

/// What a bot that runs was not granted.
pub(super) fn without(bot: &BotStatus) -> String {
    format!("{} runs without {}.", clean(&bot.name), clean(&bot.denied.join(", ")))
}

/// What waits for the admin, and what to do.
fn waiting(bot: &BotStatus) -> Option<String> {
    let name = clean(&bot.name);
    let missing = clean(&bot.missing.join(", "));
    let who = if bot.state == "running" { "a new version " } else { "" };
    (!bot.missing.is_empty())
        .then(|| format!("{who}waits for your approval of {missing}; `qpq script approve {name}` shows and grants it"))
}
