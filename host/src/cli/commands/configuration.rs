//! `config …`

mod bots;
mod plugins;

use serde_json::json;

use super::Connect;
use super::script::place::folders_in_use;
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::ConfigCommand;
use crate::cli::failure::Failure;
use crate::config::{FILE_NAME, Sources, reference};

/// Runs a command that looks at the configuration. It needs no node; one that runs is asked where its bots are.
pub(super) async fn config(
    setting: &Setting,
    connect: Connect<'_>,
    command: &ConfigCommand,
) -> Result<Answer, Failure> {
    match command {
        ConfigCommand::Reference => {
            let text = reference();
            Ok(Answer::new("qpq.config-reference/1", &json!({ "toml": text, "keys": keys() }), text))
        }
        ConfigCommand::Print => {
            let loaded = Sources::of_process(setting.home()?).load()?;
            Ok(Answer::new("qpq.config/1", &loaded.to_json(), loaded.to_toml()))
        }
        ConfigCommand::Check { file: None } => check(setting, connect, &Sources::of_process(setting.home()?)).await,
        ConfigCommand::Check { file: Some(file) } => {
            let home = setting.home().unwrap_or_default();
            check(setting, connect, &Sources { home, file: Some(file.clone()), ..Sources::default() }).await
        }
    }
}

async fn check(setting: &Setting, connect: Connect<'_>, sources: &Sources) -> Result<Answer, Failure> {
    let mut loaded = sources.load()?;
    plugins::check(&mut loaded).await?;
    bots::check(&mut loaded, folders_in_use(setting, connect).await)?;
    let mut text = match &loaded.file {
        Some(file) => format!("{} is in order.", file.display()),
        None => format!("There is no {FILE_NAME} in {}: the defaults hold.", sources.home.display()),
    };
    for warning in &loaded.warnings {
        text += &format!("\n{}", setting.style.alarm(&format!("! {warning}")));
    }
    Ok(Answer::new("qpq.config-check/1", &json!({ "file": loaded.file, "warnings": loaded.warnings }), text))
}

fn keys() -> Vec<serde_json::Value> {
    let entry = |key: &crate::config::Key| {
        json!({
            "key": key.full_name(),
            "type": key.kind,
            "unit": key.unit,
            "bounds": key.bounds,
            "variable": key.variable(),
            "doc": key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
        })
    };
    crate::config::keys().map(entry).collect()
}
