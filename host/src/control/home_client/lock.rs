//! One process at a time changes a client's data directory. The lock is held for moments only.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::identity::IdentityError;

/// Name of the lock file in the data directory.
const LOCK_NAME: &str = "client.lock";

/// The client's files belong to this process while this lives.
pub(in crate::control) struct HomeLock {
    _file: File,
}

impl HomeLock {
    /// Waits for the lock.
    pub(in crate::control) fn take(home: &Path) -> Result<Self, IdentityError> {
        let path = home.join(LOCK_NAME);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(IdentityError::io(&path, "open"))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| IdentityError::io(&path, "lock")(std::io::Error::from(error)))?;
        Ok(Self { _file: file })
    }
}
