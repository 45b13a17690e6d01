//! Watches the scripts directories. Whether anything really changed is decided by the files' contents.

use std::path::PathBuf;
use std::sync::mpsc::Sender;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::host::Message;

/// A running watch; ends when dropped.
pub(crate) type Watcher = RecommendedWatcher;

/// Watches the folders that are there. Without a watch bots still run; `qpq script reload` loads changes.
pub(crate) fn start(dirs: &[PathBuf], messages: Sender<Message>) -> Option<Watcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too (Access); reacting to it would make a circle.
        let changed = event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_)));
        if changed {
            let _ = messages.send(Message::FilesChanged);
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(target: "qpq::script", "scripts aren't watched: {error}; use `qpq script reload` after a change");
            return None;
        }
    };
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        if let Err(error) = watcher.watch(dir, RecursiveMode::Recursive) {
            tracing::warn!(target: "qpq::script", dir = %dir.display(), "folder isn't watched: {error}");
        }
    }
    Some(watcher)
}
