//! What can be wrong with a key file, whose fault it is, and the command that mends it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a key file was refused or could not be written. No variant ever holds a secret.
#[derive(Debug)]
pub enum IdentityError {
    /// Group or others can read or write the file, so the key may have leaked.
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path is a symbolic link.
    Symlink {
        /// The path.
        path: PathBuf,
    },
    /// The path is a directory, a pipe or a device.
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file belongs to another user.
    Owner {
        /// The file.
        path: PathBuf,
        /// The user id that owns it.
        owner: u32,
        /// The user id of this process.
        ours: u32,
    },
    /// The file is larger than any that this program writes.
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The file is damaged, or was edited into something else.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there; never quotes the file.
        reason: String,
    },
    /// The file was written in a format that this version doesn't know.
    Schema {
        /// The file.
        path: PathBuf,
        /// The format that this version reads.
        expected: &'static str,
    },
    /// The public key in the file doesn't belong to the secret one.
    KeyMismatch {
        /// The file.
        path: PathBuf,
    },
    /// The sealing keys were made for another identity.
    OtherIdentity {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done, as in "can't … PATH".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl IdentityError {
    /// A closure for `map_err`: the system refused to do that to the path.
    pub(crate) fn io<E: Into<io::Error>>(path: &Path, doing: &'static str) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, doing, source: error.into() }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Loose { .. } => "key-file-loose",
            Self::Symlink { .. } => "key-file-symlink",
            Self::NotAFile { .. } => "key-file-not-a-file",
            Self::Owner { .. } => "key-file-owner",
            Self::TooLarge { .. } => "key-file-too-large",
            Self::Corrupt { .. } => "key-file-corrupt",
            Self::Schema { .. } => "key-file-version",
            Self::KeyMismatch { .. } => "key-file-mismatch",
            Self::OtherIdentity { .. } => "key-file-other-identity",
            Self::Io { .. } => "key-file-io",
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loose { path, mode } => write!(
                f,
                "{0} can be read or written by other users (mode {mode:04o}), so it is not used. Close it with: chmod 600 {1}",
                path.display(),
                Quoted(path)
            ),
            Self::Symlink { path } => write!(
                f,
                "{} is a symbolic link, and keys are not read through links. Put the file itself there",
                path.display()
            ),
            Self::NotAFile { path } => write!(f, "{} is not a regular file. Move it out of the way", path.display()),
            Self::Owner { path, owner, ours } => write!(
                f,
                "{0} belongs to user {owner}, but this process runs as user {ours}. Run it as user {owner}, or give the file over with: chown {ours} {1}",
                path.display(),
                Quoted(path)
            ),
            Self::TooLarge { path, size, limit } => write!(
                f,
                "{} has {size} bytes, more than the {limit} that are read. Put back a good copy",
                path.display()
            ),
            Self::Corrupt { path, line, column, reason } => write!(
                f,
                "{}:{line}:{column}: {reason}. The file was left as it is; mend that line, or put back a good copy",
                path.display()
            ),
            Self::Schema { path, expected } => write!(
                f,
                "{} is not in the format {expected} that this version reads. Was it written by a newer version? The file was left as it is",
                path.display()
            ),
            Self::KeyMismatch { path } => write!(
                f,
                "the public key in {} does not belong to its secret key. The file was left as it is; put back a good copy",
                path.display()
            ),
            Self::OtherIdentity { path } => write!(
                f,
                "{} belongs to another identity than the identity.json beside it. Put back the identity.json that goes with it, or move it away, and mail sealed to it can't be opened any more",
                path.display()
            ),
            Self::Io { path, doing, source } => write!(f, "can't {doing} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for IdentityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A path as a shell takes it: in single quotes where it has anything but harmless characters.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
        if text.chars().all(harmless) { f.write_str(&text) } else { write!(f, "'{}'", text.replace('\'', r"'\''")) }
    }
}
