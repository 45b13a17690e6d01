//! What can go wrong with the store, whose fault it is, and what mends it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Batch;

/// Why the store did not do what was asked. Cheap to clone: one failed commit answers many callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another process (or another handle in this one) has the directory open.
    Locked {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The directory was written by a program with another format.
    Format {
        /// The store's directory.
        dir: PathBuf,
        /// The version found on disk.
        found: u32,
        /// The version that this program reads and writes.
        ours: u32,
    },
    /// The database as a whole can't be opened: its own bookkeeping is damaged.
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// One record is damaged. It was set aside; ask the neighbours for it again.
    DamagedRecord {
        /// Its sequence number.
        seq: u64,
        /// What was found.
        what: String,
    },
    /// One value of the key-value space is damaged. It was set aside.
    DamagedValue {
        /// What was found.
        what: String,
    },
    /// There is no such record: it was removed, or never stored.
    Missing {
        /// Its sequence number.
        seq: u64,
    },
    /// The disk has no room. Nothing of the batch is acknowledged; the store tries again by itself.
    DiskFull {
        /// Free bytes that the store found.
        free: u64,
        /// Free bytes that it wants to see.
        wanted: u64,
    },
    /// Writing failed before, so nothing is taken any more; reading goes on.
    ReadOnly {
        /// What failed.
        reason: String,
    },
    /// Writing failed before, by something that may pass. The store tries to go on by itself; reading goes on.
    Recovering {
        /// What failed.
        reason: String,
    },
    /// The batch breaks a limit of the store: the caller's mistake.
    Invalid {
        /// Which limit.
        what: String,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's words.
        what: String,
    },
    /// The store is closed, or being reopened after a failure.
    Closed,
}

impl StoreError {
    /// A stable word in kebab case for counters and for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "store-locked",
            Self::Format { .. } => "store-format",
            Self::Damaged { .. } => "store-damaged",
            Self::DamagedRecord { .. } => "record-damaged",
            Self::DamagedValue { .. } => "value-damaged",
            Self::Missing { .. } => "record-missing",
            Self::DiskFull { .. } => "disk-full",
            Self::ReadOnly { .. } => "store-read-only",
            Self::Recovering { .. } => "store-recovering",
            Self::Invalid { .. } => "store-invalid",
            Self::Io { .. } => "store-io",
            Self::Closed => "store-closed",
        }
    }

    pub(super) fn io(doing: &'static str, error: &std::io::Error) -> Self {
        Self::Io { doing, what: error.to_string() }
    }

    pub(super) fn damaged(dir: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { dir: dir.to_owned(), what: what.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { dir } => {
                write!(f, "the store in {} is in use by another process; stop that one first", dir.display())
            }
            Self::Format { dir, found, ours } => write!(
                f,
                "the store in {} has format version {found}, this program reads versions {} to {ours}; \
                 use the program that wrote it, or move the folder away to start with an empty store",
                dir.display(),
                super::OLDEST_FORMAT
            ),
            Self::Damaged { dir, what } => write!(
                f,
                "the store in {} is damaged and can't be opened: {what}. Check the disk; then `qpq store repair` puts together \
                 what can still be read",
                dir.display()
            ),
            Self::DamagedRecord { seq, what } => {
                write!(f, "record {seq} is damaged ({what}) and was set aside; check the disk")
            }
            Self::DamagedValue { what } => {
                write!(f, "a stored value is damaged ({what}) and was set aside; check the disk")
            }
            Self::Missing { seq } => write!(f, "there is no record {seq} in the store"),
            Self::DiskFull { free, wanted } => {
                write!(
                    f,
                    "the disk is full: {free} bytes free, {wanted} wanted; free some room, the store goes on by itself"
                )
            }
            Self::ReadOnly { reason } => {
                write!(
                    f,
                    "the store takes nothing new since a write failed: {reason}. Check the disk, then restart the node"
                )
            }
            Self::Recovering { reason } => {
                write!(f, "the store takes nothing new for now: {reason}; it goes on by itself when that has passed")
            }
            Self::Invalid { what } => write!(f, "the store was asked for something it doesn't take: {what}"),
            Self::Io { doing, what } => write!(f, "{doing} failed: {what}"),
            Self::Closed => write!(f, "the store is closed"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The queue in front of the disk is full (or the store is closed): nothing was taken. Slow down and offer it again.
pub struct Full {
    /// The batch, handed back.
    pub batch: Box<Batch>,
    /// The store is closed for good, so offering again is no use.
    pub closed: bool,
}

impl fmt::Debug for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Full").field("bytes", &self.batch.bytes()).field("closed", &self.closed).finish()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.closed { "the store is closed" } else { "the store's queue is full" })
    }
}

impl std::error::Error for Full {}
