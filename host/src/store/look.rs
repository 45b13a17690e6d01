//! A look at a store's database that changes nothing in it, however damaged it is.
//!
//! The database can't be opened just to be read: it cuts journals, removes files that it doesn't know and merges tables. And with
//! damaged lists it must not be opened at all. So a database is put together in a scratch folder: links to the tables,
//! copies of the lists that fit their checksums, new lists where they don't, and what is intact in the journals. That one is opened.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::engine::{Engine, Fault};
use super::journal::{self, JournalReport, Mended};
use super::open::{DB_DIR, opening};
use super::tables::{self, CURRENT_FILE, Listed, NAMES_SPACE, SPACES_DIR, TABLES_DIR};
use super::{StoreConfig, StoreError, version};

/// The scratch folder, in the store's own. What a crash leaves of it is removed by the next look.
pub(super) const LOOK_DIR: &str = "look";

/// A file of the database that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// Its path, from the store's folder on.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// Whether nothing of it can be read.
    pub lost: bool,
}

/// A database that can be read, put together from what is sound of the store's.
pub(super) struct Look {
    pub(super) engine: Engine,
    /// What was left out of the journals, in words.
    pub(super) mended: Mended,
    pub(super) journals: Vec<JournalReport>,
    pub(super) files: Vec<DamagedFile>,
    _scratch: Scratch,
}

/// One table space, and what of it is used.
struct Space {
    path: PathBuf,
    /// The list in force fits its checksum, and all that it names is used.
    listed: bool,
    tables: Vec<Listed>,
    /// Tables whose bytes nothing vouches for. They may keep the database from opening.
    suspects: Vec<u64>,
}

impl Look {
    /// Looks at the store in `dir`. With `deep`, each table's file is read whole and compared with its checksum.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] when not even a part can be read.
    pub(super) fn at(dir: &Path, config: &StoreConfig, deep: bool) -> Result<Self, StoreError> {
        let failed = |e: io::Error| StoreError::io("looking over the store's files", &e);
        let db = fs::canonicalize(dir.join(DB_DIR)).map_err(failed)?;
        let mut files = Vec::new();
        let mut spaces = survey(&db, deep, &mut files).map_err(failed)?;
        let scratch = Scratch::new(dir).map_err(failed)?;
        let mut put = put_together(&scratch, &db, &spaces, config).map_err(failed)?;
        if matches!(put.0, Err(Fault::Damaged(_))) {
            leave_out_unusable(&scratch, &mut spaces, config, &mut files).map_err(failed)?;
            put = put_together(&scratch, &db, &spaces, config).map_err(failed)?;
        }
        let engine = put.0.map_err(|fault| opening(dir, fault))?;
        for file in &mut files {
            file.file = DamagedFile::short(&db, &file.file);
        }
        Ok(Self { engine, mended: put.1, journals: put.2, files, _scratch: scratch })
    }
}

impl DamagedFile {
    fn new(file: PathBuf, what: impl Into<String>, lost: bool) -> Self {
        Self { file, what: what.into(), lost }
    }

    fn short(db: &Path, file: &Path) -> PathBuf {
        file.strip_prefix(db).map_or_else(|_| file.to_owned(), |rest| Path::new(DB_DIR).join(rest))
    }
}

/// What each table space holds, and what of it is damaged.
fn survey(db: &Path, deep: bool, files: &mut Vec<DamagedFile>) -> io::Result<Vec<Space>> {
    let mut found = Vec::new();
    files.extend(version::wrong(db)?.map(|wrong| wrong.in_file(db)));
    if !db.join(SPACES_DIR).exists() {
        files.push(DamagedFile::new(db.join(SPACES_DIR), "the folder of the tables is missing", true));
        return Ok(found);
    }
    let names = tables::space(db, NAMES_SPACE);
    if !names.exists() {
        files.push(DamagedFile::new(names, "the folder of the tables' names is missing", true));
    }
    for path in tables::spaces(db)? {
        let mut space = match tables::listed(&path)? {
            Ok(tables) => Space { path, listed: true, tables, suspects: Vec::new() },
            Err(what) => {
                let list = tables::list_path(&path)?.unwrap_or_else(|| path.join(CURRENT_FILE));
                files.push(DamagedFile::new(list, format!("a list of tables: {what}"), true));
                let tables = tables::found(&path)?;
                let suspects = tables.iter().map(|table| table.id).collect();
                Space { path, listed: false, tables, suspects }
            }
        };
        examine(&mut space, deep, files)?;
        found.push(space);
    }
    Ok(found)
}

/// Leaves out the tables whose end is damaged; with `deep`, notes those that don't fit their checksum.
fn examine(space: &mut Space, deep: bool, files: &mut Vec<DamagedFile>) -> io::Result<()> {
    let mut sound = Vec::new();
    for table in std::mem::take(&mut space.tables) {
        let path = tables::table_path(&space.path, table.id);
        if let Some(what) = tables::unsound(&path)? {
            files.push(DamagedFile::new(path, what, true));
            space.listed = false;
            continue;
        }
        if deep && space.listed && tables::sum_of(&path)? != table.sum {
            files.push(DamagedFile::new(path, "a table does not fit its checksum", false));
            space.suspects.push(table.id);
        }
        sound.push(table);
    }
    space.tables = sound;
    Ok(())
}

type Put = (Result<Engine, Fault>, Mended, Vec<JournalReport>);

/// Builds the database in the scratch folder and opens it.
fn put_together(scratch: &Scratch, db: &Path, spaces: &[Space], config: &StoreConfig) -> io::Result<Put> {
    let to = scratch.empty()?;
    if let Err(fault) = Engine::open_idle(&to, config).map(drop) {
        return Ok((Err(fault), Mended::default(), Vec::new()));
    }
    for space in spaces {
        put_space(&to, space)?;
    }
    for journal in journal::journals(&to)? {
        fs::remove_file(journal)?;
    }
    let (mended, journals) = journal::copy_intact(db, &to)?;
    journal::begin(&to, 0)?;
    Ok((Engine::open_idle(&to, config), mended, journals))
}

fn put_space(to: &Path, space: &Space) -> io::Result<()> {
    let target = to.join(SPACES_DIR).join(space.path.file_name().unwrap_or_default());
    if target == tables::space(to, NAMES_SPACE) {
        // A new database knows its tables' names; the old one's knowledge is taken only when it is whole.
        if !space.listed || !space.suspects.is_empty() {
            return Ok(());
        }
        fs::remove_dir_all(&target)?;
    }
    fs::create_dir_all(target.join(TABLES_DIR))?;
    for table in &space.tables {
        symlink(tables::table_path(&space.path, table.id), tables::table_path(&target, table.id))?;
    }
    if !space.listed {
        return tables::relist(&target, &space.tables);
    }
    let Some(list) = tables::list_path(&space.path)? else { return Ok(()) };
    fs::copy(&list, target.join(list.file_name().unwrap_or_default()))?;
    fs::copy(space.path.join(CURRENT_FILE), target.join(CURRENT_FILE))?;
    Ok(())
}

/// Tries the tables that nothing vouches for, each in a database of its own, and leaves out those that can't be opened.
fn leave_out_unusable(
    scratch: &Scratch,
    spaces: &mut [Space],
    config: &StoreConfig,
    files: &mut Vec<DamagedFile>,
) -> io::Result<()> {
    let nothing = scratch.0.join("nothing");
    fs::create_dir_all(&nothing)?;
    for space in spaces.iter_mut() {
        suspect_unsummed(space)?;
        let mut usable = Vec::new();
        for table in std::mem::take(&mut space.tables) {
            let alone = Space { path: space.path.clone(), listed: false, tables: vec![table], suspects: Vec::new() };
            let suspect = space.suspects.contains(&table.id);
            match suspect.then(|| put_together(scratch, &nothing, &[alone], config)).transpose()? {
                Some((Err(fault), ..)) => {
                    let path = tables::table_path(&space.path, table.id);
                    files.retain(|file| file.file != path);
                    files.push(DamagedFile::new(path, format!("a table can't be opened: {fault}"), true));
                    space.listed = false;
                }
                _ => usable.push(table),
            }
        }
        space.tables = usable;
    }
    Ok(())
}

/// Where files weren't read whole so far, does it now.
fn suspect_unsummed(space: &mut Space) -> io::Result<()> {
    if !space.listed || !space.suspects.is_empty() {
        return Ok(());
    }
    for table in &space.tables {
        if tables::sum_of(&tables::table_path(&space.path, table.id))? != table.sum {
            space.suspects.push(table.id);
        }
    }
    Ok(())
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// In the store's folder; where that can't be written to (a full or read-only disk), in the system's.
    fn new(dir: &Path) -> io::Result<Self> {
        let own = dir.join(LOOK_DIR);
        if own.exists() {
            fs::remove_dir_all(&own)?;
        }
        let other = std::env::temp_dir().join(format!("qpq-{LOOK_DIR}-{}", std::process::id()));
        let made = private_dir(&own).map(|()| own).or_else(|_| private_dir(&other).map(|()| other))?;
        Ok(Self(made))
    }

    /// A fresh, empty folder in it for a database (not yet made).
    fn empty(&self) -> io::Result<PathBuf> {
        let place = self.0.join(DB_DIR);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        Ok(place)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}
