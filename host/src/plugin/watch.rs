//! Watches the plugins' files. Whether a library really changed is decided by its digest.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::supervisor::Command;

/// A file must be left alone for so long before it is looked at: whoever copies it in place is done then.
const QUIET: Duration = Duration::from_millis(300);
/// A file that is written on and on is looked at all the same after this.
const PATIENCE: Duration = Duration::from_secs(3);
/// Names of changed files that wait; more of them are covered by a look at all.
const MAX_CHANGES: usize = 256;

/// A running watch; ends when dropped.
pub(super) struct Watch {
    _watcher: RecommendedWatcher,
}

/// Watches `files`, and tells each one's supervisor when it changes. Without a watch, `qpq plugin swap` still works.
pub(super) fn start(files: Vec<(PathBuf, mpsc::Sender<Command>)>) -> Option<Watch> {
    let (changed, changes) = mpsc::channel(MAX_CHANGES);
    let ours: HashSet<PathBuf> = files.iter().map(|(file, _)| file.clone()).collect();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too (Access); reacting to it would make a circle.
        let Some(event) = event.ok().filter(|event| !matches!(event.kind, EventKind::Access(_))) else { return };
        for path in event.paths.into_iter().filter(|path| ours.contains(path)) {
            let _ = changed.try_send(path); // a full queue means that there is enough to look at
        }
    });
    let unwatched = |error: notify::Error| {
        tracing::warn!("plugin files aren't watched: {error}; use `qpq plugin swap NAME` after a change");
    };
    let mut watcher = watcher.map_err(unwatched).ok()?;
    // The folders: a file that is replaced by a rename is another one than was watched.
    let mut folders: Vec<&Path> = files.iter().filter_map(|(file, _)| file.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), "plugin files aren't watched: {error}");
        }
    }
    tokio::spawn(tell(files, changes));
    Some(Watch { _watcher: watcher })
}

/// Waits until a file is quiet, then tells its supervisor.
async fn tell(files: Vec<(PathBuf, mpsc::Sender<Command>)>, mut changes: mpsc::Receiver<PathBuf>) {
    // By place in `files`: when it counts as quiet, and when it is looked at however busy it is.
    let mut busy: BTreeMap<usize, (Instant, Instant)> = BTreeMap::new();
    loop {
        let next = busy.values().map(|(quiet, latest)| *quiet.min(latest)).min();
        let change = match next {
            Some(at) => timeout_at(at, changes.recv()).await.ok(),
            None => Some(changes.recv().await),
        };
        match change {
            Some(None) => return,
            Some(Some(path)) => {
                let now = Instant::now();
                for place in (0..files.len()).filter(|place| files.get(*place).is_some_and(|(file, _)| *file == path)) {
                    busy.entry(place).or_insert((now, now + PATIENCE)).0 = now + QUIET;
                }
            }
            None => {
                let now = Instant::now();
                let due: Vec<usize> = busy
                    .iter()
                    .filter(|(_, (quiet, latest))| now >= *quiet.min(latest))
                    .map(|(place, _)| *place)
                    .collect();
                for place in due {
                    busy.remove(&place);
                    if let Some((_, supervisor)) = files.get(place) {
                        // A supervisor with a full queue looks at the file soon enough anyway.
                        let _ = supervisor.try_send(Command::Changed);
                    }
                }
            }
        }
    }
}
