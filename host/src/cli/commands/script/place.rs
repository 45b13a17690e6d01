//! Where new files for bots belong.

use std::path::{Component, Path, PathBuf};

use super::super::Connect;
use crate::cli::Setting;
use crate::config::Sources;

/// The folder of scripts that is meant when none was named: one from which the running node has its bots, else the one of
/// the configuration, if it or a node's data is there, else `scripts` here, if it is there, else here.
pub(super) async fn scripts_dir(setting: &Setting, connect: Connect<'_>) -> PathBuf {
    let configured = configured(setting);
    if let Some(used) = used(setting, connect, configured.as_deref()).await {
        return used;
    }
    let here = PathBuf::from("scripts");
    match configured {
        Some(dir) if dir.is_dir() || setting.home().is_ok_and(|home| home.is_dir()) => dir,
        _ if here.is_dir() => here,
        _ => PathBuf::from("."),
    }
}

/// These paths; in place of the bare name of a bot of the folder of scripts, where nothing here has that name, the bot.
pub(super) async fn bots(paths: Vec<PathBuf>, setting: &Setting, connect: Connect<'_>) -> Vec<PathBuf> {
    if !paths.iter().any(|path| is_bare(path)) {
        return paths;
    }
    let folder = scripts_dir(setting, connect).await;
    paths.into_iter().map(|path| bot_in(&folder, &path).unwrap_or(path)).collect()
}

/// Whether a path is a single name, and nothing is there.
fn is_bare(path: &Path) -> bool {
    path.components().eq(path.file_name().map(Component::Normal)) && !path.exists()
}

fn bot_in(folder: &Path, name: &Path) -> Option<PathBuf> {
    let paths = ["", ".lua", ".luau"].map(|end| {
        let mut name = name.as_os_str().to_owned();
        name.push(end);
        folder.join(name)
    });
    paths.into_iter().find(|path| is_bare(name) && path.exists())
}

fn configured(setting: &Setting) -> Option<PathBuf> {
    let home = setting.home().ok()?;
    // A node elsewhere has folders that can't be known here.
    let loaded = setting.target.is_none().then(|| Sources::of_process(home).load())?.ok()?;
    loaded.config.script_dirs().into_iter().next()
}

/// A folder from which the running node has bots; that of the configuration, if it is one of them.
async fn used(setting: &Setting, connect: Connect<'_>, configured: Option<&Path>) -> Option<PathBuf> {
    let folders = folders_in_use(setting, connect).await;
    let first = folders.first()?.clone();
    Some(folders.into_iter().find(|dir| Some(dir.as_path()) == configured).unwrap_or(first))
}

/// The folders from which the running node has bots, each once. None of a node that doesn't run, or runs elsewhere.
pub(in crate::cli::commands) async fn folders_in_use(setting: &Setting, connect: Connect<'_>) -> Vec<PathBuf> {
    if setting.target.is_some() {
        return Vec::new();
    }
    let Ok(node) = connect() else { return Vec::new() };
    let bots = node.scripts().await.unwrap_or_default();
    let mut folders: Vec<PathBuf> = Vec::new();
    for dir in bots.iter().filter_map(|bot| Path::new(&bot.path).parent()) {
        if dir.is_dir() && !folders.iter().any(|known| known == dir) {
            folders.push(dir.to_owned());
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bots_bare_name_is_enough_where_nothing_here_is_called_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("some-bot-of-a-test.lua"), "return 1").unwrap();
        let bot = |name: &str| bot_in(dir.path(), Path::new(name));
        assert_eq!(bot("some-bot-of-a-test"), Some(dir.path().join("some-bot-of-a-test.lua")));
        assert_eq!(bot("nothing-of-a-test"), None);
        // What is here, and paths, are meant as they are.
        assert_eq!(bot("src"), None);
        assert!(!is_bare(Path::new("./some-bot-of-a-test")) && !is_bare(Path::new("a/b")) && !is_bare(Path::new(".")));
    }
}
