//! The lock file: one node at a time in a data directory.
//!
//! The lock is one of the kernel's, so it goes with its process, however that ends. The process id in the file is
//! there for people.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::cli::failure::Failure;

/// Name of the lock file in the data directory.
const LOCK_NAME: &str = "node.lock";

/// How often the lock is tried: somebody may hold it for a moment, just to look.
const TRIES: u32 = 5;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(40);

/// The data directory belongs to this process while this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Takes the data directory.
///
/// # Errors
/// When another process has it; its id is told.
pub(super) fn take(home: &Path) -> Result<Lock, Failure> {
    let path = home.join(LOCK_NAME);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file =
        opened.map_err(|error| Failure::new("lock", format!("{} cannot be opened: {error}.", path.display())))?;
    if !try_lock(&file) {
        return Err(already_running(&mut file, home));
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| Failure::new("lock", format!("{} cannot be written: {error}.", path.display())))?;
    Ok(Lock { _file: file })
}

fn try_lock(file: &File) -> bool {
    (0..TRIES).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn already_running(file: &mut File, home: &Path) -> Failure {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let pid = text.trim().parse::<u32>().map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string());
    let home = home.display();
    Failure::new(
        "already-running",
        format!(
            "A node runs in {home} already, as process {pid}. Stop it with `qpq --home {home} stop`, or choose another data directory."
        ),
    )
}

/// Whether a process has the data directory.
pub(in crate::cli) fn is_held(home: &Path) -> bool {
    let Ok(file) = File::open(home.join(LOCK_NAME)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_refused_with_the_process_id_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let lock = take(home.path()).unwrap();
        assert!(is_held(home.path()));
        let failure = take(home.path()).unwrap_err();
        assert!(failure.to_string().contains(&format!("process {}.", std::process::id())), "{failure}");
        assert_eq!(failure.exit_code(), 1);
        drop(lock);
        assert!(!is_held(home.path()));
        take(home.path()).unwrap();
    }

    #[test]
    fn whoever_just_looks_does_not_keep_a_node_from_starting() {
        let home = tempfile::tempdir().unwrap();
        drop(take(home.path()).unwrap());
        let look = File::open(home.path().join(LOCK_NAME)).unwrap();
        flock(&look, FlockOperation::NonBlockingLockShared).unwrap();
        let looker = std::thread::spawn(move || {
            std::thread::sleep(PAUSE);
            drop(look);
        });
        take(home.path()).unwrap();
        looker.join().unwrap();
    }
}
