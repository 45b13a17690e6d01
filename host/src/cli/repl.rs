//! The prompt: the commands of the command line, with history, completion, and messages as they come.
//!
//! It is a client of the node like any other, also when the node runs in this very process.

mod behind;
mod complete;
mod helper;
mod line;
mod names;
mod watch;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};
use tokio::runtime::Runtime;

use super::answer::print_line;
use super::args::{Command, LineCommand, UpArgs};
use super::commands::{self, Outcome};
use super::failure::Failure;
use super::term::Style;
use super::{Setting, interactive};
use crate::api::NodeApi;
use crate::control::{ConnectError, RemoteNode};
use behind::Behind;
use helper::Helper;

/// Name of the history file in the data directory.
const HISTORY_NAME: &str = "history";

/// Lines of history that are kept.
const HISTORY_LINES: usize = 1_000;

/// How an invite begins. Lines with one are not kept: it is a secret.
const INVITE: &str = "qpqinvite";

const PROMPT: &str = "qpq> ";

type LineEditor = Editor<Helper, FileHistory>;

/// Opens the prompt on the node in the data directory; runs one meanwhile, if none runs.
pub(super) fn run(setting: &Setting, up: &UpArgs) -> Result<(), Failure> {
    let home = setting.home()?;
    let (node, behind): (Arc<dyn NodeApi>, _) = match setting.connect() {
        Ok(node) => (node, None),
        Err(Failure::Connect(ConnectError::NoNode { .. })) => {
            let behind = Behind::start(&home, up)?;
            (Arc::new(RemoteNode::connect(&home)?), Some(behind))
        }
        Err(failure) => return Err(failure),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::io)?;
    let prompt = Prompt { setting, node, runtime: Arc::new(runtime), own: behind.is_some(), quiet: Arc::default() };
    let outcome = prompt.open(&home, behind.as_ref());
    match behind {
        Some(behind) => outcome.and(behind.stop(&*prompt.node, &prompt.runtime)),
        None => outcome,
    }
}

/// Whether to go on.
enum Next {
    Line,
    Leave,
}

struct Prompt<'a> {
    setting: &'a Setting,
    node: Arc<dyn NodeApi>,
    runtime: Arc<Runtime>,
    /// Whether the node runs in this process.
    own: bool,
    /// Set while a command shows messages itself.
    quiet: Arc<AtomicBool>,
}

impl Prompt<'_> {
    fn open(&self, home: &Path, behind: Option<&Behind>) -> Result<(), Failure> {
        let mut editor = self.editor(home)?;
        let talking = interactive();
        if talking {
            self.greet()?;
            let printer = editor.create_external_printer().map_err(|error| broken(&error))?;
            watch::start(Arc::clone(&self.node), self.setting.style, Arc::clone(&self.quiet), printer);
        }
        'prompt: loop {
            let line = match editor.readline(if talking { PROMPT } else { "" }) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(broken(&error)),
            };
            // What is pasted comes as one, with all its lines; each is a command of its own.
            for line in line.lines() {
                if talking && !line.trim().is_empty() && !line.to_ascii_lowercase().contains(INVITE) {
                    let _ = editor.add_history_entry(line);
                }
                if let Next::Leave = self.obey(line, behind)? {
                    break 'prompt;
                }
            }
        }
        if talking {
            let _ = editor.save_history(&home.join(HISTORY_NAME));
        }
        Ok(())
    }

    fn editor(&self, home: &Path) -> Result<LineEditor, Failure> {
        let mut editor = LineEditor::new().map_err(|error| broken(&error))?;
        editor.set_completion_type(CompletionType::List);
        let _ = editor.set_max_history_size(HISTORY_LINES);
        let _ = editor.load_history(&home.join(HISTORY_NAME));
        let names = names::Names::new(Arc::clone(&self.node), Arc::clone(&self.runtime));
        editor.set_helper(Some(Helper::new(names, self.setting.style)));
        Ok(editor)
    }

    fn greet(&self) -> Result<(), Failure> {
        let identity = self.runtime.block_on(self.node.identity())?;
        let stays = if self.own { "It stops when you leave (Ctrl-D)." } else { "It goes on when you leave (Ctrl-D)." };
        print_line(&format!(
            "This is {}. {stays}\nType /help for what can be said, /mesh identity to see who you are.",
            self.setting.style.bold(&identity.peer_id.to_string()),
        ))
    }

    /// Does what a line says. A command that fails is told, and the prompt goes on.
    fn obey(&self, text: &str, behind: Option<&Behind>) -> Result<Next, Failure> {
        let parsed = match line::parse(text) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(Next::Line),
            Err(told) => {
                print_line(told.trim_end())?;
                return Ok(Next::Line);
            }
        };
        let LineCommand::Shared(command) = parsed.command else { return Ok(Next::Leave) };
        let stops = matches!(command, Command::Stop);
        if let (true, Some(behind)) = (stops, behind) {
            behind.expect_end();
        }
        let setting = Setting {
            home: self.setting.home.clone(),
            target: self.setting.target.clone(),
            json: parsed.json,
            style: self.setting.style,
        };
        match self.runtime.block_on(self.execute(&setting, command)) {
            Ok(()) if stops => return Ok(Next::Leave),
            Ok(()) => {}
            Err(failure) => failure.print(parsed.json),
        }
        Ok(Next::Line)
    }

    /// Runs a command; Ctrl-C ends the command and not the prompt.
    async fn execute(&self, setting: &Setting, command: Command) -> Result<(), Failure> {
        let connect = || Ok(Arc::clone(&self.node));
        let work = async {
            match commands::run(setting, command, &connect).await? {
                Outcome::Answer(answer) => answer.print(setting.json),
                Outcome::Follow(follow) => {
                    self.quiet.store(true, Ordering::SeqCst);
                    follow.run(&*self.node, setting, &mut print_line).await
                }
                Outcome::Lua(session) => {
                    self.quiet.store(true, Ordering::SeqCst);
                    session.run(&*self.node, setting, &mut print_line).await
                }
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted", "Interrupted.")),
        };
        self.quiet.store(false, Ordering::SeqCst);
        outcome
    }
}

fn broken(error: &ReadlineError) -> Failure {
    Failure::new("terminal", format!("The terminal cannot be used: {error}."))
}

/// Tells on the standard error output why the prompt ends although nobody left it.
fn farewell(text: &str, style: Style) {
    let _ = writeln!(std::io::stderr(), "\n{}", style.alarm(text));
}
