//! `script editor`: writes what editors need to complete and check bots.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::Connect;
use super::place::scripts_dir;
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::script::meta;

#[derive(Serialize)]
struct Report {
    dir: PathBuf,
    written: Vec<&'static str>,
    /// Settings that somebody changed, and that were left so.
    kept: Vec<&'static str>,
}

pub(super) async fn run(setting: &Setting, connect: Connect<'_>, dir: Option<PathBuf>) -> Result<Answer, Failure> {
    let dir = match dir {
        Some(dir) => dir,
        None => scripts_dir(setting, connect).await,
    };
    let mut report = Report { dir, written: Vec::new(), kept: Vec::new() };
    for file in meta::files() {
        let path = report.dir.join(file.path);
        // Definitions are the host's, settings are the author's.
        let settings = !file.path.starts_with("meta/");
        let there = fs::read_to_string(&path).ok();
        if settings && there.is_some_and(|text| text != file.text) {
            report.kept.push(file.path);
            continue;
        }
        write(&path, &file.text).map_err(|error| Failure::new("io", format!("{}: {error}", path.display())))?;
        report.written.push(file.path);
    }
    let text = text(&report);
    Ok(Answer::new("qpq.script-editor/1", &report, text))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

fn text(report: &Report) -> String {
    let mut text = format!("In {}: {}.", report.dir.display(), report.written.join(", "));
    if !report.kept.is_empty() {
        text += &format!("\nLeft as you have them: {}.", report.kept.join(", "));
    }
    text + "\nOpen that folder in an editor with the Lua language server and it completes and checks bots. For luau-lsp, name \
            meta/mesh.d.luau as a definition file; meta/reference.md is for people."
}
