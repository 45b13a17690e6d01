//! The command line and the REPL: one table of commands, both clients of a running node.
//!
//! [`args`] is that table. The shell's arguments and the REPL's lines are parsed by it; help, completion, hints and
//! the man page are made from it.

mod answer;
pub mod args;
mod commands;
mod daemon;
mod docs;
mod failure;
mod remote;
mod repl;
mod term;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::api::NodeApi;
use crate::config::default_home;
use crate::control::RemoteNode;
use crate::control::quic::Target;
use args::{Cli, Command};
use failure::Failure;

/// The variable that names a node to use over the network.
const CONNECT_VARIABLE: &str = "QPQ_CONNECT";

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    // A plugin is checked in a child process, which is this same program.
    if crate::plugin::child_main(std::env::args_os().skip(1)) {
        return ExitCode::SUCCESS;
    }
    // So is a bot that is not to be trusted run.
    if crate::script::child_main(std::env::args_os().skip(1)) {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What a command needs to know besides its own arguments.
struct Setting {
    /// The data directory, when one was found.
    home: Option<PathBuf>,
    /// The node to use over the network, instead of the one in the data directory.
    target: Option<Target>,
    /// Print JSON.
    json: bool,
    /// How to print text.
    style: term::Style,
}

impl Setting {
    fn new(global: args::Global) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok();
        let target = match (global.connect, variable(CONNECT_VARIABLE).filter(|text| !text.is_empty())) {
            (Some(target), _) => Some(target),
            (None, Some(text)) => {
                let wrong = |error| Failure::Usage(format!("{CONNECT_VARIABLE}: {error}"));
                Some(text.parse().map_err(wrong)?)
            }
            (None, None) => None,
        };
        let home = global.home.or_else(|| default_home(variable).ok());
        let home = home.map(|home| std::path::absolute(&home).unwrap_or(home));
        Ok(Self { home, target, json: global.json, style: term::Style::of_stdout() })
    }

    fn home(&self) -> Result<PathBuf, Failure> {
        self.home.clone().ok_or_else(|| Failure::Usage(crate::config::NoHome.to_string()))
    }

    fn connect(&self) -> Result<Arc<dyn NodeApi>, Failure> {
        match &self.target {
            Some(target) => remote::connect(&self.home()?, target),
            None => Ok(Arc::new(RemoteNode::connect(&self.home()?)?)),
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let setting = Setting::new(cli.global)?;
    match cli.command {
        None => repl::run(&setting, &args::UpArgs::default()),
        Some(Command::Repl(up)) => repl::run(&setting, &up),
        Some(Command::Up(_)) if setting.target.is_some() => Err(Failure::Usage(format!(
            "`up` starts a node on this machine, so it can't go with --connect (or the variable {CONNECT_VARIABLE})."
        ))),
        Some(Command::Up(up)) => daemon::run(&setting.home()?, &up),
        Some(Command::Completions { shell }) => docs::completions(shell).print(setting.json),
        Some(Command::Man { dir }) => docs::man(dir.as_deref())?.print(setting.json),
        Some(command) => one_shot(&setting, command),
    }
}

/// Runs a command that needs no more than a moment, on a small runtime of its own.
fn one_shot(setting: &Setting, command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::io)?;
    runtime.block_on(async {
        match commands::run(setting, command, &|| setting.connect()).await? {
            commands::Outcome::Answer(answer) => answer.print(setting.json),
            commands::Outcome::Follow(follow) => {
                let node = setting.connect()?;
                follow.run(&*node, setting, &mut answer::print_line).await
            }
            commands::Outcome::Lua(session) => {
                session.run(&*setting.connect()?, setting, &mut answer::print_line).await
            }
        }
    })
}

/// Whether a person sits at both ends.
fn interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}
