//! Watches the scripts directories. Whether anything really changed is decided by the files' contents.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::host::Message;

/// How often the directories themselves are looked at: of one that comes, or takes the place of another, no event tells.
const LOOK: Duration = Duration::from_secs(1);

/// A running watch; ends when dropped.
pub(crate) struct Watcher {
    inner: RecommendedWatcher,
    /// With the one that is watched there.
    dirs: Vec<(PathBuf, Option<Identity>)>,
    look_at: Instant,
}

impl Watcher {
    /// Watches the directories, also those that are not there yet. Without a watch bots still run; `qpq script reload` loads
    /// changes.
    pub(crate) fn start(dirs: &[PathBuf], messages: Sender<Message>) -> Option<Self> {
        let inner = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too (Access); reacting to it would make a circle.
            let changed = event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_)));
            if changed {
                let _ = messages.send(Message::FilesChanged);
            }
        });
        let inner = inner.inspect_err(|error| {
            tracing::warn!(target: "qpq::script", "scripts aren't watched: {error}; use `qpq script reload` after a change");
        });
        let dirs = dirs.iter().map(|dir| (dir.clone(), None)).collect();
        let mut watcher = Self { inner: inner.ok()?, dirs, look_at: Instant::now() };
        watcher.look();
        Some(watcher)
    }

    /// Looks for directories that came, went, or took the place of another, from time to time. Whether there were some.
    pub(crate) fn look(&mut self) -> bool {
        let now = Instant::now();
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK;
        let mut changed = false;
        for (dir, watched) in &mut self.dirs {
            let found = identity(dir);
            if *watched == found {
                continue;
            }
            changed = true;
            if watched.is_some() {
                // Fails when it went with the directory.
                let _ = self.inner.unwatch(dir);
            }
            *watched = found;
            if found.is_some()
                && let Err(error) = self.inner.watch(dir, RecursiveMode::Recursive)
            {
                tracing::warn!(target: "qpq::script", dir = %dir.display(), "folder isn't watched: {error}");
            }
        }
        changed
    }
}

/// What a directory is, whatever its path: device, inode, and when it was made, where that is known. A new one may get the
/// inode of one that was removed.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(dir: &Path) -> Option<Identity> {
    let about = std::fs::metadata(dir).ok().filter(std::fs::Metadata::is_dir)?;
    Some((about.dev(), about.ino(), about.created().ok()))
}
