//! Finding tests, and the bot that each is for.

use std::path::{Path, PathBuf};

use super::super::source::{Found, bot_at, holds_bots, is_test};

/// How deep a bot's folder is searched for tests, as for its modules.
const MAX_FOLDERS: usize = 4;
/// Entries of a folder that are looked at.
const MAX_ENTRIES: usize = 1_024;

/// A file with tests.
#[derive(Debug, Clone)]
pub(super) struct TestFile {
    pub path: PathBuf,
    /// The bot that it tests.
    pub bot: Option<Found>,
    /// The scripts directory, in which other bots are looked for.
    pub folder: PathBuf,
}

impl TestFile {
    /// The file, and the bot that its place and name say.
    fn of(path: PathBuf) -> Self {
        let around = path.ancestors().skip(1).take(MAX_FOLDERS).find_map(bot_at);
        let bot = around.or_else(|| beside(&path));
        let place = bot.as_ref().map_or(&path, |bot| &bot.path);
        let folder = place.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { path, bot, folder }
    }
}

/// The bot that a test is for.
pub(crate) fn bot_of(test: &Path) -> Option<Found> {
    TestFile::of(test.to_path_buf()).bot
}

/// The bot that a test's name begins with: `board_test.lua` and `board_search_test.lua` test `board`.
fn beside(test: &Path) -> Option<Found> {
    let folder = test.parent().filter(|folder| holds_bots(folder))?;
    let mut name = test.file_stem()?.to_str()?;
    while let Some((shorter, _)) = name.rsplit_once('_') {
        name = shorter;
        let paths = [folder.join(name), folder.join(format!("{name}.lua")), folder.join(format!("{name}.luau"))];
        if let Some(bot) = paths.iter().find_map(|path| bot_at(path)) {
            return Some(bot);
        }
    }
    None
}

/// The tests at a path: a test, a bot's file or folder, or a folder of bots.
pub(super) fn find(path: &Path) -> Result<Vec<TestFile>, String> {
    let shown = path.display();
    let path = path.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
    let mut files = Vec::new();
    if is_test(&path) {
        files.push(path.clone());
    } else if path.is_file() {
        files.extend(in_folder(path.parent().unwrap_or(&path), 1));
        files.retain(|file| beside(file).is_some_and(|bot| bot.path == path));
    } else if bot_at(&path).is_some() {
        files.extend(in_folder(path.parent().unwrap_or(&path), 1));
        files.retain(|file| beside(file).is_some_and(|bot| bot.path == path));
        files.extend(in_folder(&path, MAX_FOLDERS));
    } else {
        files.extend(in_folder(&path, MAX_FOLDERS + 1));
    }
    Ok(files.into_iter().map(TestFile::of).collect())
}

/// The test files in a folder, by name, with those of so many folders below each other.
fn in_folder(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.take(MAX_ENTRIES).flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths.into_iter().filter(|path| !path.is_symlink()) {
        if is_test(&path) {
            files.push(path);
        } else if path.is_dir() && depth > 1 {
            files.extend(in_folder(&path, depth - 1));
        }
    }
    files
}
