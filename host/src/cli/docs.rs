//! Completions and man pages, made from the table of commands.

use std::path::Path;

use clap::CommandFactory;
use serde_json::json;

use super::answer::Answer;
use super::args::Cli;
use super::failure::Failure;

/// The completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "qpq", &mut script);
    let text = String::from_utf8_lossy(&script).into_owned();
    Answer::new("qpq.completions/1", &json!({ "shell": shell.to_string(), "script": text }), text)
}

/// The man page; with a folder, one page for each command is written there instead.
pub(super) fn man(dir: Option<&Path>) -> Result<Answer, Failure> {
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(Failure::io)?;
        clap_mangen::generate_to(Cli::command(), dir).map_err(Failure::io)?;
        let text = format!("The man pages are in {}.", dir.display());
        return Ok(Answer::new("qpq.man/1", &json!({ "dir": dir }), text));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::io)?;
    let text = String::from_utf8_lossy(&page).into_owned();
    Ok(Answer::new("qpq.man/1", &json!({ "page": text }), text))
}
