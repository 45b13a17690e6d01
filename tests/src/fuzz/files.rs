//! What people and programs write into the data directory: configuration, keys, channels.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use qpq_host::config::{self, Sources};
use qpq_host::fuzz;
use qpq_host::identity::{self, Identity};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "config", feed: feed_config, seeds: configs },
    Target { name: "setting", feed: feed_setting, seeds: settings },
    Target { name: "identity", feed: feed_identity, seeds: identities },
    Target { name: "sealing-keys", feed: feed_sealing_keys, seeds: sealing_keys },
    Target { name: "channels", feed: feed_channels, seeds: channels },
];

fn rng() -> StdRng {
    StdRng::from_seed([7; 32])
}

fn owner() -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[7; 32]))
}

/// A folder with one private file. `None` when the machine has no room for it, which is no fault of the parser.
pub(super) fn folder_with(name: &str, bytes: &[u8]) -> Option<TempDir> {
    let folder = tempfile::tempdir().ok()?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.path().join(name)).ok()?;
    file.write_all(bytes).ok()?;
    Some(folder)
}

/// The content of the file that `make` leaves in a folder.
pub(super) fn made(name: &str, make: impl FnOnce(&Path)) -> Seeds {
    let Ok(folder) = tempfile::tempdir() else { return Seeds::new() };
    make(folder.path());
    fs::read(folder.path().join(name)).into_iter().collect()
}

fn configs() -> Seeds {
    let reference = config::reference();
    // The reference has every key behind a comment sign.
    let live: Vec<_> =
        reference.lines().map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line)).collect();
    let small =
        "nickname = \"anna\"\nlisten = [\"0.0.0.0:7000\"]\n[store]\nmax_messages = 1000\n[scripts.config.x]\na = 1\n";
    vec![small.as_bytes().to_vec(), live.join("\n").into_bytes(), reference.into_bytes()]
}

/// Every mistake has its place; a file that is taken is taken again.
fn feed_config(bytes: &[u8]) {
    let Some(folder) = folder_with(config::FILE_NAME, bytes) else { return };
    let sources = Sources { home: folder.path().to_owned(), ..Sources::default() };
    match sources.load() {
        Ok(_) => assert!(sources.load().is_ok()),
        Err(errors) => assert!(!errors.0.is_empty() && errors.to_string().contains(config::FILE_NAME)),
    }
}

fn settings() -> Seeds {
    ["0.0.0.0:7000", "quic://[::1]:7000", "true", "64", "info,qpq_host::link=debug", "a,b", "/tmp/x", "json"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// The same text as the value of every variable.
fn feed_setting(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let variables = config::keys().map(|key| (key.variable(), text.clone().into_owned())).collect();
    let sources = Sources { home: "/nonexistent".into(), variables, ..Sources::default() };
    if let Err(errors) = sources.load() {
        assert!(errors.to_string().contains("QPQ_"));
    }
}

fn identities() -> Seeds {
    made(identity::IDENTITY_FILE, |folder| drop(identity::open(folder, &mut rng())))
}

/// A file that can't be read is left as it is.
fn feed_identity(bytes: &[u8]) {
    let Some(folder) = folder_with(identity::IDENTITY_FILE, bytes) else { return };
    if identity::open(folder.path(), &mut rng()).is_err() {
        assert_eq!(fs::read(folder.path().join(identity::IDENTITY_FILE)).ok().as_deref(), Some(bytes));
    }
}

fn sealing_keys() -> Seeds {
    made("sealing.json", |folder| drop(identity::SealingKeys::open(folder, owner(), 1_000, &mut rng())))
}

/// A file that can't be read is left as it is, also when keys are due to be rotated.
fn feed_sealing_keys(bytes: &[u8]) {
    let Some(folder) = folder_with("sealing.json", bytes) else { return };
    if identity::SealingKeys::open(folder.path(), owner(), 90_000_000, &mut rng()).is_err() {
        assert_eq!(fs::read(folder.path().join("sealing.json")).ok().as_deref(), Some(bytes));
    }
}

fn channels() -> Seeds {
    made("channels.json", fuzz::channels_seed)
}

/// A file that can't be read is left as it is.
fn feed_channels(bytes: &[u8]) {
    let Some(folder) = folder_with("channels.json", bytes) else { return };
    if !fuzz::channels(folder.path()) {
        assert_eq!(fs::read(folder.path().join("channels.json")).ok().as_deref(), Some(bytes));
    }
}
