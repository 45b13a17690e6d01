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

/// How the machine says that a table can't be written.
const READ_ONLY: &str = "attempt to modify a readonly table";

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
        let answer = Answer::new("qpq.script-eval/1", &evaluated, self.text(&evaluated, Style::PLAIN));
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
            "It can't send or store anything, nor change the bot's tables; --write lets it."
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
                Ok(code) => _ = self.show(node, code, setting, print).await?,
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Lines from a pipe; those that only together are a statement are taken together. When one failed, the session did.
    async fn read(
        &self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut code, mut failed) = (String::new(), false);
        // Not held over an await, so that nothing else of this process waits for it.
        while let Some(line) = std::io::stdin().lock().lines().next() {
            code += &line.map_err(Failure::io)?;
            code.push('\n');
            if code.len() <= TYPED_BYTES && typed_is_unfinished(&code) {
                continue;
            }
            let piece = std::mem::take(&mut code);
            if !piece.trim().is_empty() {
                failed |= !self.show(node, piece, setting, print).await?;
            }
        }
        if !code.trim().is_empty() {
            failed |= !self.show(node, code, setting, print).await?;
        }
        if failed { Err(Failure::Told) } else { Ok(()) }
    }

    /// Runs a piece and shows what it came to; whether it went well.
    async fn show(
        &self,
        node: &dyn NodeApi,
        code: String,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let evaluated = tokio::select! {
            evaluated = self.eval(node, code) => evaluated?,
            _ = tokio::signal::ctrl_c() => return print("Interrupted; the bot may still be at it.").map(|()| false),
        };
        if setting.json {
            print(&Answer::new("qpq.script-eval/1", &evaluated, "").show(true))?;
        } else {
            print(&self.text(&evaluated, setting.style))?;
        }
        Ok(evaluated.error.is_none())
    }

    fn text(&self, evaluated: &ScriptEvaluated, style: Style) -> String {
        let Some(error) = &evaluated.error else { return clean_lines(&evaluated.result) };
        let hint = if !self.write && error.contains(READ_ONLY) { "; --write lets a session change things" } else { "" };
        style.alarm(&format!("{}{hint}", clean_lines(error)))
    }
}
