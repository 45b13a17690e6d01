//! `script repl`: Lua, typed into a running bot.

mod helper;

use std::io::BufRead;

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use crate::api::{NodeApi, ScriptEval, ScriptEvaluated};
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, clean, clean_lines};
use crate::cli::{Setting, interactive};
use crate::script::typed_is_unfinished;
use helper::Helper;

/// What is typed and not yet sent, in bytes: more than a bot takes at once.
const TYPED_BYTES: usize = 64 << 10;

/// A session in one bot.
pub(in crate::cli) struct Session {
    bot: String,
    write: bool,
}

impl Session {
    pub(super) fn new(bot: String, write: bool) -> Self {
        Self { bot, write }
    }

    /// Runs one piece.
    pub(super) async fn once(&self, node: &dyn NodeApi, code: String) -> Result<Answer, Failure> {
        let evaluated = self.eval(node, code).await?;
        let answer = Answer::new("qpq.script-eval/1", &evaluated, text(&evaluated, Style::PLAIN));
        Ok(if evaluated.error.is_some() { answer.failed() } else { answer })
    }

    async fn eval(&self, node: &dyn NodeApi, code: String) -> Result<ScriptEvaluated, Failure> {
        let eval = ScriptEval { bot: self.bot.clone(), code, write: self.write };
        Ok(node.script_eval(eval).await?)
    }

    /// Reads and runs pieces until the end of the input. One that fails is told, and the session goes on.
    pub(in crate::cli) async fn run(
        self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if interactive() { self.talk(node, setting, print).await } else { self.read(node, setting, print).await }
    }

    async fn talk(
        &self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let name = clean(&self.bot);
        let may = if self.write {
            "It may change and send things."
        } else {
            "It can't change or send anything; --write lets it."
        };
        print(&format!("Lua in {name}. {may} Tab completes, Ctrl-D leaves."))?;
        let broken = |error: &ReadlineError| Failure::new("terminal", format!("The terminal cannot be used: {error}."));
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(true).build();
        let editor: rustyline::Result<Editor<Helper, DefaultHistory>> = Editor::with_config(config);
        let mut editor = editor.map_err(|error| broken(&error))?;
        editor.set_helper(Some(Helper::new(setting.style)));
        let prompt = format!("{name}{} ", if self.write { "!" } else { ">" });
        loop {
            match editor.readline(&prompt) {
                Ok(code) if code.trim().is_empty() => {}
                Ok(code) => self.show(node, code, setting, print).await?,
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Lines from a pipe; those that only together are a statement are taken together.
    async fn read(
        &self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut code = String::new();
        // Not held over an await, so that nothing else of this process waits for it.
        while let Some(line) = std::io::stdin().lock().lines().next() {
            code += &line.map_err(Failure::io)?;
            code.push('\n');
            if code.len() <= TYPED_BYTES && typed_is_unfinished(&code) {
                continue;
            }
            let piece = std::mem::take(&mut code);
            if !piece.trim().is_empty() {
                self.show(node, piece, setting, print).await?;
            }
        }
        if code.trim().is_empty() { Ok(()) } else { self.show(node, code, setting, print).await }
    }

    async fn show(
        &self,
        node: &dyn NodeApi,
        code: String,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let evaluated = tokio::select! {
            evaluated = self.eval(node, code) => evaluated?,
            _ = tokio::signal::ctrl_c() => return print("Interrupted; the bot may still be at it."),
        };
        if setting.json {
            return print(&Answer::new("qpq.script-eval/1", &evaluated, "").show(true));
        }
        print(&text(&evaluated, setting.style))
    }
}

fn text(evaluated: &ScriptEvaluated, style: Style) -> String {
    match &evaluated.error {
        Some(error) => style.alarm(&clean_lines(error)),
        None => clean_lines(&evaluated.result),
    }
}
