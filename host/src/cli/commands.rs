//! What each command does: it asks the node, and makes an answer of what comes back.

mod configuration;
mod federation;
mod inbox;
mod mesh;
mod offline;
mod plugin;
mod script;
mod status;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Setting;
use super::answer::Answer;
use super::args::{Command, MeshCommand};
use super::failure::Failure;
use crate::api::NodeApi;

pub(super) use inbox::{delivery_text, message_text};

/// How a command gets to the node, if it needs one.
pub(super) type Connect<'a> = &'a dyn Fn() -> Result<Arc<dyn NodeApi>, Failure>;

/// What comes of a command.
pub(super) enum Outcome {
    /// Something to print.
    Answer(Answer),
    /// Something that goes on.
    Follow(Follow),
    /// Lua for a bot, until the end of the input.
    Lua(script::lua::Session),
}

/// What goes on until Ctrl-C.
pub(super) enum Follow {
    /// Messages as they come.
    Inbox(inbox::Follow),
    /// Lines of bots as they come.
    Logs(script::logs::Follow),
    /// What bots use, again and again.
    Top(script::top::Watch),
}

impl Follow {
    /// Goes on, printing with `print`.
    pub(super) async fn run(
        self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let work = async {
            match self {
                Self::Inbox(follow) => follow.run(node, setting, print).await,
                Self::Logs(follow) => follow.run(node, setting, print).await,
                Self::Top(watch) => watch.run(node, setting, print).await,
            }
        };
        tokio::select! {
            outcome = work => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Runs a command. Those that concern the whole process (`up`, `repl`, …) are not for here.
pub(super) async fn run(setting: &Setting, command: Command, connect: Connect<'_>) -> Result<Outcome, Failure> {
    let style = setting.style;
    Ok(match command {
        Command::Mesh { command: MeshCommand::Inbox(args) } if args.follow => {
            Outcome::Follow(Follow::Inbox(inbox::Follow::new(&args)))
        }
        Command::Mesh { command: MeshCommand::Inbox(args) } => inbox::show(&*connect()?, &args, style).await?.into(),
        Command::Mesh { command } => mesh::run(&*connect()?, command, style).await?.into(),
        Command::Status => status::show(&*connect()?, style).await?.into(),
        Command::Plugin { command } => plugin::run(connect, command, style, setting.json).await?.into(),
        Command::Script { command } => script::run(setting, connect, command).await?,
        Command::Federation { command } => federation::run(setting, connect, command).await?.into(),
        Command::Store { command } => store::run(setting, connect, command).await?.into(),
        Command::Config { command } => configuration::config(setting, connect, &command).await?.into(),
        Command::Stop => {
            let here = setting.home.as_deref().filter(|_| setting.target.is_none());
            status::stop(&*connect()?, here).await?.into()
        }
        Command::Up(_) | Command::Repl(_) | Command::Completions { .. } | Command::Man { .. } => {
            return Err(Failure::Usage("This command is for the shell: run it as `qpq …` there.".to_owned()));
        }
    })
}
