//! Where new files for bots belong.

use std::path::{Path, PathBuf};

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

fn configured(setting: &Setting) -> Option<PathBuf> {
    let home = setting.home().ok()?;
    // A node elsewhere has folders that can't be known here.
    let loaded = setting.target.is_none().then(|| Sources::of_process(home).load())?.ok()?;
    loaded.config.script_dirs().into_iter().next()
}

/// A folder from which the running node has bots; that of the configuration, if it is one of them.
async fn used(setting: &Setting, connect: Connect<'_>, configured: Option<&Path>) -> Option<PathBuf> {
    if setting.target.is_some() {
        return None;
    }
    let bots = connect().ok()?.scripts().await.ok()?;
    let folders: Vec<PathBuf> = bots
        .iter()
        .filter_map(|bot| Path::new(&bot.path).parent())
        .filter(|dir| dir.is_dir())
        .map(Path::to_owned)
        .collect();
    let first = folders.first()?.clone();
    Some(folders.into_iter().find(|dir| Some(dir.as_path()) == configured).unwrap_or(first))
}
