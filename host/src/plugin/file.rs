//! The file of a plugin: who may change it, what its digest is, and the copy that is mapped.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::elf;
use super::error::Problem;

/// The largest library that is taken, in bytes: 256 MiB.
pub const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Bytes that are read at a time. A library is never in memory as a whole: the allocator would keep as much for good.
const CHUNK: usize = 64 << 10;

/// A file that passed the checks of mode, digest and headers, and stays open.
pub(super) struct Checked {
    pub(super) sha256: String,
    file: File,
}

/// Reads and checks a file. `pinned` empty allows every digest.
pub(super) fn check(path: &Path, pinned: &[String]) -> Result<Checked, Problem> {
    let unreadable = |e: std::io::Error| Problem::Unreadable(e.to_string());
    // Whatever is checked is checked on the open file, and the copy must have the same digest, so nothing can change between
    // the check and the use.
    let file = open(path).map_err(unreadable)?;
    check_mode(path, &file.metadata().map_err(unreadable)?)?;
    let (size, sha256) = pour(&file, &mut std::io::sink()).map_err(unreadable)?;
    if size > MAX_FILE {
        return Err(Problem::NotAFile(format!("more than {MAX_FILE} bytes")));
    }
    if !pinned.is_empty() && !pinned.iter().any(|pin| pin.eq_ignore_ascii_case(&sha256)) {
        return Err(Problem::NotPinned(sha256));
    }
    elf::check(&Sized { file: &file, size })?;
    Ok(Checked { sha256, file })
}

/// Passes the file's bytes on, from its beginning and up to one more than may be. Returns how many they were, and their digest.
fn pour(file: &File, into: &mut impl Write) -> std::io::Result<(u64, String)> {
    let (mut size, mut sum, mut chunk) = (0, Sha256::new(), vec![0; CHUNK]);
    while size <= MAX_FILE {
        let read = match file.read_at(&mut chunk, size) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
        into.write_all(bytes)?;
        size += bytes.len() as u64;
    }
    Ok((size, hex(&sum.finalize())))
}

/// An open file and its size.
struct Sized<'a> {
    file: &'a File,
    size: u64,
}

impl elf::Source for Sized<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Option<()> {
        self.file.read_exact_at(into, at).ok()
    }
}

/// Opens without waiting: a pipe would, for somebody who writes into it.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path)
}

/// The digest of a file as it is now; `None` when it can't be read or is too large for a library.
pub(super) fn digest(path: &Path) -> Option<String> {
    let file = open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
    pour(&file, &mut std::io::sink()).ok().filter(|(size, _)| *size <= MAX_FILE).map(|(_, sha256)| sha256)
}

/// Refuses a file that anybody but its owner (this user or root) can change. A file that is writable by the group passes
/// only for the group of this process, since many systems give each user a group of their own and umask 002.
fn check_mode(path: &Path, meta: &fs::Metadata) -> Result<(), Problem> {
    if !meta.is_file() {
        return Err(Problem::NotAFile("something that is no regular file".to_owned()));
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if meta.uid() != 0 && meta.uid() != user {
        return Err(Problem::WritableByOthers(format!("a file of user {}, who can change it", meta.uid())));
    }
    if loose(meta, group) {
        return Err(Problem::WritableByOthers(format!(
            "mode {:04o}, which lets others change it",
            meta.mode() & 0o7777
        )));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sticky = |meta: &fs::Metadata| meta.mode() & 0o1000 != 0;
    match fs::metadata(folder) {
        Ok(meta) if loose(&meta, group) && !sticky(&meta) => Err(Problem::FolderWritableByOthers(folder.to_owned())),
        _ => Ok(()),
    }
}

fn loose(meta: &fs::Metadata, own_group: u32) -> bool {
    meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && meta.gid() != own_group)
}

impl Checked {
    /// Writes the bytes that were checked to `folder/<sha256>.g<generation>.so`, for nobody else to change. The original
    /// may be replaced or overwritten after that: overwriting a mapped file would crash the node.
    pub(super) fn copy_to(&self, folder: &Path, generation: u32) -> Result<PathBuf, Problem> {
        let failed = |e: std::io::Error| Problem::Copy(format!("{}: {e}", folder.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(format!("{}.g{generation}.so", self.sha256));
        // A file of an earlier run is never mapped now; a new file, not the old one truncated, keeps that certain.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path).map_err(failed)?;
        let copied = pour(&self.file, &mut file).and_then(|(_, sha256)| match sha256 == self.sha256 {
            true => Ok(()),
            false => Err(std::io::Error::other("the library changed while it was being copied; try again")),
        });
        if let Err(error) = copied {
            let _ = fs::remove_file(&path); // half a copy must not keep a full disk full
            return Err(failed(error));
        }
        drop(file);
        fs::canonicalize(&path).map_err(failed)
    }
}

/// Removes copies that earlier runs of the node left; those of this run must stay.
pub(super) fn clear_old_copies(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "so")) {
        let _ = fs::remove_file(entry.path());
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
