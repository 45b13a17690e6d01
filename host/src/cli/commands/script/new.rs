//! `script new`: writes a bot that works at once, with a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::super::Connect;
use super::place::scripts_dir;
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::NewScriptArgs;
use crate::cli::failure::Failure;
use crate::script::bot_name_problem;

/// Stands for the bot's name in the templates.
const NAME: &str = "NAME";

/// How often a running node is asked whether it has taken the bot up, and the pause between. A node that watches its
/// folders has it after half a second, and in a folder that is new after a second more.
const LOOKS: u32 = 30;
const LOOK: Duration = Duration::from_millis(100);

/// A file of a bot in a folder, and its text.
const FOLDER: [(&str, &str); 4] = [
    ("init.lua", include_str!("new/init.lua")),
    ("bot.toml", include_str!("new/bot.toml")),
    ("init_test.lua", include_str!("new/init_test.lua")),
    ("README.md", include_str!("new/README.md")),
];

#[derive(Serialize)]
struct Report {
    name: String,
    path: PathBuf,
    files: Vec<PathBuf>,
    /// Whether a node has taken it up.
    #[serde(rename = "running")]
    is_running: bool,
    next: Vec<String>,
}

pub(super) async fn run(setting: &Setting, connect: Connect<'_>, args: &NewScriptArgs) -> Result<Answer, Failure> {
    if let Some(problem) = bot_name_problem(&args.name) {
        return Err(Failure::Usage(problem));
    }
    if args.name.eq_ignore_ascii_case("help") {
        let why = "`!help` is the node's own command, which lists those of all bots; choose another name.";
        return Err(Failure::Usage(format!("`{}` can't be a new bot's name: {why}", args.name)));
    }
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => scripts_dir(setting, connect).await,
    };
    let name = &args.name;
    // One name is one bot, be it a file or a folder.
    let taken = [dir.join(name), dir.join(format!("{name}.lua")), dir.join(format!("{name}.luau"))];
    if let Some(path) = taken.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::Usage(format!(
            "{} exists already, and nothing is overwritten. Choose another name, or another folder with --dir.",
            path.display()
        )));
    }
    let files = files(&dir, name, args.single);
    for (path, text) in &files {
        write(path, text).map_err(|error| Failure::new("io", format!("{}: {error}", path.display())))?;
    }
    let path = dir.join(if args.single { format!("{name}.lua") } else { name.clone() });
    let is_running = setting.target.is_none() && is_taken_up(connect, name).await;
    Ok(answer(name, path, files.into_iter().map(|(path, _)| path).collect(), is_running))
}

/// Waits a moment for the running node to take the bot up. Whether it has.
async fn is_taken_up(connect: Connect<'_>, name: &str) -> bool {
    let Ok(node) = connect() else { return false };
    for _ in 0..LOOKS {
        match node.scripts().await {
            Ok(bots) if bots.iter().any(|bot| bot.name == name && bot.state == "running") => return true,
            Ok(_) => tokio::time::sleep(LOOK).await,
            Err(_) => return false,
        }
    }
    false
}

/// Where each file goes, with its text.
fn files(dir: &Path, name: &str, single: bool) -> Vec<(PathBuf, String)> {
    let path = |file: &str| match (single, file) {
        (false, file) => Some(dir.join(name).join(file)),
        (true, "init.lua") => Some(dir.join(format!("{name}.lua"))),
        (true, "init_test.lua") => Some(dir.join(format!("{name}_test.lua"))),
        (true, _) => None,
    };
    FOLDER.iter().filter_map(|(file, text)| Some((path(file)?, text.replace(NAME, name)))).collect()
}

/// Writes a new file; one that is there already stays as it is.
fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = fs::File::create_new(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn answer(name: &str, path: PathBuf, files: Vec<PathBuf>, is_running: bool) -> Answer {
    let shown = path.display();
    let next = vec![
        format!("qpq script check {shown}"),
        format!("qpq script test {shown}"),
        format!("qpq script run {shown} --event '{{\"text\": \"!{name}\"}}'"),
        "qpq script list".to_owned(),
    ];
    let state = if is_running { "The node runs it now." } else { "No running node has its bots there." };
    let mut text = format!("{name} is in {shown}. {state} Next:\n");
    for command in &next {
        text += &format!("  {command}\n");
    }
    text +=
        &format!("Send `!{name}` to its node and it answers. `qpq script editor` lets your editor complete its calls.");
    Answer::new("qpq.script-new/1", &Report { name: name.to_owned(), path, files, is_running, next }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{FoundBot, ScriptLimits, check, run_once};

    #[test]
    fn what_is_written_is_in_order_and_answers() {
        for single in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files(dir.path(), "greeter", single) {
                write(&path, &text).unwrap();
                assert!(!text.contains(NAME), "{}", path.display());
            }
            let bot = dir.path().join(if single { "greeter.lua" } else { "greeter" });
            assert_eq!(check(&FoundBot::at(&bot)), []);
            let event = serde_json::json!({ "text": "!greeter", "from_name": "anna" });
            let report = run_once(&bot, &event, &ScriptLimits::default());
            assert_eq!(report.error, None);
            assert!(report.outputs[0]["text"].as_str().unwrap().contains("anna"), "{report:?}");
        }
    }
}
