//! Finding bots in the scripts directories, and reading their files.
//!
//! All of a bot's sources are read before its machine is built: afterwards the bot touches no file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::limits::{SOURCE_FILE_BYTES, SOURCE_FILES};
use super::manifest::{Manifest, PERMISSIONS};

/// Folders in a scripts directory that hold no bots: the shared library and the editors' definitions.
const NO_BOTS: [&str; 2] = ["lib", "meta"];
/// Bots of a scripts directory, and entries of a bot's folder, that are looked at.
const MAX_ENTRIES: usize = 1_024;
/// Those among them that are told although their names are no bots'.
const MAX_MISNAMED: usize = 16;
/// Length of a bot's name, in bytes.
const NAME_BYTES: usize = 64;
/// How deep a bot's folder is searched for modules.
const MAX_FOLDERS: usize = 4;

/// A bot that was found, or what is meant as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// The bot's name; of what can't be one, the name of its file or folder, which no bot has.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
    /// Why it is no bot, whatever it holds.
    pub problem: Option<String>,
}

impl Found {
    /// What somebody named as a bot, or as the test of one.
    pub(crate) fn at(path: &Path) -> Self {
        // A bot is called like its folder, also when that is `.`.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        meant_at(&path).unwrap_or_else(|| Self { name: file_name(&path), path, problem: None })
    }

    /// Reads the manifest and all sources.
    pub(crate) fn read(&self, max_bytes: usize) -> Result<Source, SourceError> {
        match &self.problem {
            None => read(&self.path, max_bytes),
            Some(problem) => Err(SourceError {
                file: file_name(&self.path),
                line: None,
                message: problem.clone(),
                hash: xxhash_rust::xxh3::xxh3_64(problem.as_bytes()),
            }),
        }
    }
}

/// What a bot is made of.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub manifest: Manifest,
    /// The chunk to run first, such as `hello.lua` or `board/init.lua`.
    pub main: String,
    /// Chunk name → text.
    pub files: BTreeMap<String, String>,
    /// Over every byte of the files and the manifest.
    pub hash: u64,
}

impl Source {
    /// Size of all files, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.files.values().map(String::len).sum()
    }
}

/// Why a bot's files can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceError {
    pub file: String,
    pub line: Option<usize>,
    pub message: String,
    /// Of what could be read, so that a broken file isn't tried again until it changes.
    pub hash: u64,
}

/// The bots in these directories by name; of two with one name the first wins, and one that gives way to another in the same
/// directory is told as what doesn't load.
pub(crate) fn discover(dirs: &[PathBuf]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for dir in dirs {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        // What is no bot doesn't count, so that a folder full of other things hides none.
        let (mut here, mut misnamed) = (Vec::new(), Vec::new());
        for bot in entries.flatten().filter_map(|entry| meant_at(&entry.path())) {
            let (kept, most) =
                if bot.problem.is_none() { (&mut here, MAX_ENTRIES) } else { (&mut misnamed, MAX_MISNAMED) };
            if kept.len() < most {
                kept.push(bot);
            }
        }
        here.append(&mut misnamed);
        here.sort();
        for mut bot in here {
            match found.iter().find(|known| known.name == bot.name) {
                None => found.push(bot),
                Some(known) if known.path.parent() == Some(dir) => {
                    let (first, name) = (file_name(&known.path), file_name(&bot.path));
                    let message = format!("not loaded, since {first} is the bot `{}`: rename one of them", bot.name);
                    (bot.name, bot.problem) = (name, Some(message));
                    found.push(bot);
                }
                Some(_) => {}
            }
        }
    }
    found
}

/// The bots at a path: the bot that it is, or those of the folder.
pub(crate) fn bots_at(path: &Path) -> Vec<Found> {
    let is_folder_of_bots =
        path.is_dir() && !["init.lua", "init.luau", "bot.toml"].iter().any(|f| path.join(f).is_file());
    if is_folder_of_bots {
        return discover(&[path.to_path_buf()]);
    }
    vec![Found::at(path)]
}

/// The bot at a path of a scripts directory, if there is one.
pub(crate) fn bot_at(path: &Path) -> Option<Found> {
    let name = if path.is_dir() {
        let name = path.file_name()?.to_str()?;
        let has_init = ["init.lua", "init.luau"].iter().any(|init| path.join(init).is_file());
        (has_init && !NO_BOTS.contains(&name)).then_some(name)?
    } else {
        let stem = path.file_stem()?.to_str()?;
        (is_lua(path) && !stem.ends_with("_test") && path.is_file()).then_some(stem)?
    };
    is_name(name).then(|| Found { name: name.to_owned(), path: path.to_path_buf(), problem: None })
}

/// The same for a path right in a scripts directory, with what is meant as a bot and can't be one: a folder with a manifest or
/// sources and no `init.lua`, and what has a name that no bot can have.
fn meant_at(path: &Path) -> Option<Found> {
    if let Some(bot) = bot_at(path) {
        return Some(bot);
    }
    let name = file_name(path);
    // What editors and copying programs put aside begins so.
    if name.starts_with(['.', '#']) || NO_BOTS.contains(&name.as_str()) || is_test(path) {
        return None;
    }
    let is_part = |path: &Path| is_lua(path) || path.file_name().is_some_and(|name| name == "bot.toml");
    let is_meant = if path.is_dir() {
        let mut entries = std::fs::read_dir(path).ok()?.take(MAX_ENTRIES).flatten().map(|entry| entry.path());
        entries.any(|path| is_part(&path) && path.is_file())
    } else {
        is_lua(path) && path.is_file()
    };
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let problem = name_problem(&stem.unwrap_or_default().to_string_lossy());
    is_meant.then(|| Found { name, path: path.to_path_buf(), problem })
}

/// Whether a folder's files may be bots: not those of the library and of the editors' definitions.
pub(crate) fn holds_bots(folder: &Path) -> bool {
    folder.file_name().and_then(|name| name.to_str()).is_none_or(|name| !NO_BOTS.contains(&name))
}

/// Why no bot can have that name; `None` when one can.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let why = if !is_name(name) {
        format!("it has 1 to {NAME_BYTES} letters, digits, '-' and '_', such as `hello` or `bulletin-board`")
    } else if NO_BOTS.contains(&name) {
        "a folder of that name holds what several bots share".to_owned()
    } else if name.ends_with("_test") {
        "what ends in `_test` is the test of a bot".to_owned()
    } else {
        return None;
    };
    Some(format!("`{}` can't be a bot's name: {why}.", super::api::clean(name, NAME_BYTES)))
}

/// Letters, digits, `-` and `_`, at most 64, so that a name is safe in paths, logs and reader names.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= NAME_BYTES && name.chars().all(fits)
}

fn is_lua(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "lua" || ext == "luau")
}

/// Reads a bot's manifest and all its sources.
pub(crate) fn read(path: &Path, max_bytes: usize) -> Result<Source, SourceError> {
    let mut reader = Reader { files: BTreeMap::new(), hash: Xxh3::new(), bytes: 0, max_bytes };
    let (main, manifest) = if path.is_dir() { reader.folder(path)? } else { reader.single(path)? };
    // What an editor or a copy that broke off left behind; a version that works isn't given up for it.
    if reader.files.get(&main).is_some_and(|text| text.trim().is_empty()) {
        return Err(reader.error(&main, None, "the file is empty".to_owned()));
    }
    Ok(Source { manifest, main, files: reader.files, hash: reader.hash.digest() })
}

/// Reads a bot's test, and all sources of the bot that it may look into. Without a bot there is the library alone.
pub(crate) fn read_test(test: &Path, bot: Option<&Path>, max_bytes: usize) -> Result<Source, SourceError> {
    let mut reader = Reader { files: BTreeMap::new(), hash: Xxh3::new(), bytes: 0, max_bytes };
    let base = match bot {
        Some(bot) if bot.is_dir() => reader.folder(bot).map(|_| bot.parent())?,
        Some(bot) => reader.single(bot).map(|_| bot.parent())?,
        None => library_base(test),
    };
    if bot.is_none() {
        reader.library(base)?;
    }
    let inside = base.and_then(|base| test.strip_prefix(base).ok()).unwrap_or(test);
    let names: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let main = names.join("/");
    reader.file(test, main.clone())?;
    let needs = PERMISSIONS.map(|(name, _)| name.to_owned()).to_vec();
    let manifest = Manifest { needs, ..Manifest::single_file() };
    Ok(Source { manifest, main, files: reader.files, hash: reader.hash.digest() })
}

/// The scripts directory of a test without a bot: the library's tests stand in `lib`.
fn library_base(test: &Path) -> Option<&Path> {
    let folder = test.parent()?;
    let is_library = folder.file_name().is_some_and(|name| name == "lib");
    if is_library { folder.parent() } else { Some(folder) }
}

/// Whether a file's name says that it tests a bot: `bot_test.lua`.
pub(crate) fn is_test(path: &Path) -> bool {
    let named = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem.ends_with("_test"));
    named && is_lua(path) && path.is_file()
}

struct Reader {
    files: BTreeMap<String, String>,
    hash: Xxh3,
    bytes: usize,
    max_bytes: usize,
}

impl Reader {
    fn single(&mut self, path: &Path) -> Result<(String, Manifest), SourceError> {
        let main = file_name(path);
        self.file(path, main.clone())?;
        self.library(path.parent())?;
        Ok((main, Manifest::single_file()))
    }

    fn folder(&mut self, path: &Path) -> Result<(String, Manifest), SourceError> {
        let folder = file_name(path);
        for name in ["bot.toml", "init.lua", "init.luau"] {
            if path.join(name).is_symlink() {
                // As for modules: a link could lead out of the folder.
                let message = "a link, which could lead to files that are none of the bot's: put the file itself here";
                return Err(self.error(&format!("{folder}/{name}"), None, message.to_owned()));
            }
        }
        let toml = path.join("bot.toml");
        let manifest = if toml.is_file() {
            let text = self.text(&toml, &format!("{folder}/bot.toml"))?;
            let parsed = Manifest::parse(&text);
            let manifest = parsed.map_err(|e| self.error(&format!("{folder}/bot.toml"), e.line, e.message))?;
            if manifest.name.as_ref().is_some_and(|name| *name != folder) {
                let message = format!("name must be the folder's: write name = \"{folder}\", or leave it out");
                return Err(self.error(&format!("{folder}/bot.toml"), None, message));
            }
            manifest
        } else {
            Manifest::single_file()
        };
        self.modules(path, &folder, MAX_FOLDERS)?;
        self.library(path.parent())?;
        let main = ["init.lua", "init.luau"].map(|init| format!("{folder}/{init}"));
        match main.into_iter().find(|main| self.files.contains_key(main)) {
            Some(main) => Ok((main, manifest)),
            None => Err(self.error(&folder, None, "the folder has no init.lua, with which a bot begins".to_owned())),
        }
    }

    fn library(&mut self, dir: Option<&Path>) -> Result<(), SourceError> {
        match dir.map(|dir| dir.join("lib")) {
            Some(lib) if lib.is_dir() => self.modules(&lib, "lib", MAX_FOLDERS),
            _ => Ok(()),
        }
    }

    fn modules(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), SourceError> {
        let entries = std::fs::read_dir(dir).map_err(|e| self.error(prefix, None, e.to_string()))?;
        let mut paths: Vec<PathBuf> = entries.take(MAX_ENTRIES).flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = format!("{prefix}/{}", file_name(&path));
            // A link could lead out of the folder, to files that are none of the bot's business.
            if path.is_symlink() {
                continue;
            } else if path.is_dir() && depth > 1 {
                self.modules(&path, &name, depth - 1)?;
            } else if is_lua(&path) && !name.contains("_test.lua") && path.is_file() {
                self.file(&path, name)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: String) -> Result<(), SourceError> {
        if self.files.len() >= SOURCE_FILES {
            return Err(self.error(&name, None, format!("a bot has at most {SOURCE_FILES} source files")));
        }
        let text = self.text(path, &name)?;
        self.files.insert(name, text);
        Ok(())
    }

    fn text(&mut self, path: &Path, name: &str) -> Result<String, SourceError> {
        let mut bytes = Vec::new();
        // To open a pipe would wait for somebody who writes into it.
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err(self.error(name, None, "no regular file: a pipe or device can't be read as one".to_owned()));
        }
        let file = std::fs::File::open(path).map_err(|e| self.error(name, None, e.to_string()))?;
        let limit = SOURCE_FILE_BYTES as u64 + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(|e| self.error(name, None, e.to_string()))?;
        self.hash.update(name.as_bytes());
        self.hash.update(&bytes);
        self.bytes += bytes.len();
        if bytes.len() > SOURCE_FILE_BYTES {
            return Err(self.error(name, None, format!("larger than {} KiB", SOURCE_FILE_BYTES >> 10)));
        }
        if self.bytes > self.max_bytes {
            let kib = self.max_bytes >> 10;
            return Err(self.error(name, None, format!("the bot's sources together are larger than {kib} KiB")));
        }
        String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
            self.error(name, Some(line), "not a text in UTF-8: save it as UTF-8 source, not as bytecode".to_owned())
        })
    }

    fn error(&self, file: &str, line: Option<usize>, message: String) -> SourceError {
        SourceError { file: file.to_owned(), line, message, hash: self.hash.digest() }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_and_folders_are_bots_and_the_library_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["board", "lib", "empty", "main-only"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let others = ["lib/init.lua", "notes.txt", "bad name.lua", "main-only/main.lua"];
        for file in ["hello.lua", "hello_test.lua", "board/init.lua"].iter().chain(&others) {
            fs::write(dir.path().join(file), "return 1").unwrap();
        }
        let names: Vec<String> = discover(&[dir.path().to_path_buf()]).into_iter().map(|bot| bot.name).collect();
        assert_eq!(names, ["bad name.lua", "board", "hello", "main-only"]);
        let error = read(&dir.path().join("main-only"), 1 << 20).unwrap_err();
        assert!(error.message.contains("no init.lua"), "what doesn't load is told: {error:?}");
        let board = read(&dir.path().join("board"), 1 << 20).unwrap();
        assert_eq!(board.main, "board/init.lua");
        assert!(board.files.contains_key("lib/init.lua"));
    }

    #[test]
    fn what_is_meant_as_a_bot_and_can_be_none_is_told_and_what_editors_put_aside_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("hello")).unwrap();
        fs::create_dir_all(dir.path().join("two words")).unwrap();
        let left = [".#hello.lua", ".hello.lua.swp", "#hello.lua#", "a word_test.lua", "hello.lua~"];
        for file in
            ["hello/init.lua", "hello.lua", "hello.luau", "my bot.lua", "two words/init.lua"].iter().chain(&left)
        {
            fs::write(dir.path().join(file), "return 1").unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("hello.lua"), "return 1").unwrap();
        let found = discover(&[dir.path().to_path_buf(), elsewhere.path().to_path_buf()]);
        let problem = |bot: &Found| bot.read(1 << 20).err().map(|error| error.message);
        let told: Vec<(&str, Option<String>)> = found.iter().map(|bot| (bot.name.as_str(), problem(bot))).collect();
        let second = Some("not loaded, since hello is the bot `hello`: rename one of them".to_owned());
        let named = |name: &str| name_problem(name).filter(|problem| problem.contains("letters, digits"));
        assert_eq!(
            told,
            [
                ("hello", None),
                ("hello.lua", second.clone()),
                ("hello.luau", second),
                ("my bot.lua", named("my bot")),
                ("two words", named("two words")),
            ]
        );
        assert_eq!(bots_at(&dir.path().join("my bot.lua"))[0].problem, named("my bot"));
    }

    #[test]
    fn an_empty_file_is_no_version_of_a_bot() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hello.lua");
        fs::write(&file, " \n").unwrap();
        assert_eq!(read(&file, 1 << 20).unwrap_err().message, "the file is empty");
    }

    #[test]
    fn a_pipe_in_the_scripts_folder_is_no_bot_and_blocks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let mkfifo = |name: &str| {
            let made = std::process::Command::new("mkfifo").arg(dir.path().join(name)).status();
            assert!(made.unwrap().success());
        };
        fs::create_dir(dir.path().join("board")).unwrap();
        fs::write(dir.path().join("board/init.lua"), "return 1").unwrap();
        ["trap.lua", "board/trap.lua", "board/bot.toml"].into_iter().for_each(mkfifo);
        let names: Vec<String> = discover(&[dir.path().to_path_buf()]).into_iter().map(|bot| bot.name).collect();
        assert_eq!(names, ["board"]);
        assert_eq!(read(&dir.path().join("board"), 1 << 20).unwrap().files.len(), 1);
    }

    #[test]
    fn a_pipe_that_is_named_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("trap.lua");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read(&pipe, 1 << 20).unwrap_err().message.contains("no regular file"));
    }

    #[test]
    #[cfg(unix)]
    fn neither_manifest_nor_main_file_may_be_a_link_out_of_the_folder() {
        for name in ["bot.toml", "init.lua"] {
            let dir = tempfile::tempdir().unwrap();
            let bot = dir.path().join("bot");
            fs::create_dir(&bot).unwrap();
            fs::write(bot.join("init.lua"), "return 1").unwrap();
            fs::write(dir.path().join("elsewhere"), "version = \"1\"").unwrap();
            _ = fs::remove_file(bot.join(name));
            std::os::unix::fs::symlink(dir.path().join("elsewhere"), bot.join(name)).unwrap();
            let error = read(&bot, 1 << 20).unwrap_err();
            assert!(error.file.ends_with(name) && error.message.contains("put the file itself here"), "{error:?}");
        }
    }

    #[test]
    fn ten_thousand_other_files_hide_no_bot() {
        let dir = tempfile::tempdir().unwrap();
        (0..10_000).for_each(|number| fs::write(dir.path().join(format!("{number}.txt")), "").unwrap());
        fs::write(dir.path().join("hello.lua"), "return 1").unwrap();
        assert_eq!(discover(&[dir.path().to_path_buf()]).len(), 1);
        (0..2_000).for_each(|number| fs::write(dir.path().join(format!("a {number}.lua")), "").unwrap());
        let found = discover(&[dir.path().to_path_buf()]);
        assert!(found.len() == 1 + MAX_MISNAMED && found.iter().any(|bot| bot.name == "hello"));
    }

    #[test]
    fn oversize_and_binary_sources_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.lua");
        fs::write(&path, vec![b' '; SOURCE_FILE_BYTES + 1]).unwrap();
        assert!(read(&path, 1 << 20).unwrap_err().message.contains("larger than 256 KiB"));
        fs::write(&path, b"-- a\n\xff\xfe").unwrap();
        assert_eq!(read(&path, 1 << 20).unwrap_err().line, Some(2));
    }
}
