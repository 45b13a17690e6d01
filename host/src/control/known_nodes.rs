//! The keys of nodes that a client has met: `known_nodes` in its data directory, one `HOST:PORT KEY` on each line.

use std::path::Path;

use qpq_schemas::PeerId;

use super::home_client::HomeLock;
use crate::identity::{IdentityError, private_file};

/// The file's name in the data directory.
pub(super) const KNOWN_NODES_FILE: &str = "known_nodes";

/// Nodes that are remembered at most; the oldest go first.
const MAX_NODES: usize = 1_000;

/// Largest file that is read, in bytes: [`MAX_NODES`] lines at their longest, and room for comments.
const MAX_FILE: u64 = 512 * 1024;

/// The key that the node at that address had before.
pub(super) fn look_up(home: &Path, address: &str) -> Result<Option<PeerId>, IdentityError> {
    let text = read(home)?;
    let found = text.lines().filter_map(parse).rfind(|(known, _)| *known == address);
    Ok(found.map(|(_, key)| key))
}

/// Notes the key of a node.
pub(super) fn note(home: &Path, address: &str, key: PeerId) -> Result<(), IdentityError> {
    let _lock = HomeLock::take(home)?;
    let text = read(home)?;
    let others: Vec<&str> = text.lines().filter(|line| parse(line).is_none_or(|(known, _)| known != address)).collect();
    let skipped = others.len().saturating_sub(MAX_NODES - 1);
    let mut lines: Vec<String> = others.into_iter().skip(skipped).map(str::to_owned).collect();
    lines.push(format!("{address} {key}"));
    private_file::replace(&home.join(KNOWN_NODES_FILE), format!("{}\n", lines.join("\n")).as_bytes())
}

fn read(home: &Path) -> Result<String, IdentityError> {
    let bytes = private_file::read(&home.join(KNOWN_NODES_FILE), MAX_FILE)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}

/// A line's address and key. Comments and damaged lines have none.
fn parse(line: &str) -> Option<(&str, PeerId)> {
    let (address, key) = line.trim().split_once(' ')?;
    Some((address, key.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_address_and_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let key = |n| PeerId([n; 32]);
        assert_eq!(look_up(home.path(), "a:1").unwrap(), None);
        note(home.path(), "a:1", key(1)).unwrap();
        note(home.path(), "b:1", key(2)).unwrap();
        note(home.path(), "a:1", key(3)).unwrap();
        assert_eq!(look_up(home.path(), "a:1").unwrap(), Some(key(3)));
        assert_eq!(look_up(home.path(), "b:1").unwrap(), Some(key(2)));
        let text = std::fs::read_to_string(home.path().join(KNOWN_NODES_FILE)).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn the_file_is_bounded_and_damaged_lines_do_no_harm() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(KNOWN_NODES_FILE);
        let lines: String = (0..MAX_NODES + 50).map(|n| format!("host{n}:1 {}\n", PeerId([1; 32]))).collect();
        private_file::replace(&path, format!("# mine\n\u{7}garbage\n{lines}").as_bytes()).unwrap();
        note(home.path(), "new:1", PeerId([2; 32])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), MAX_NODES);
        assert_eq!(look_up(home.path(), "new:1").unwrap(), Some(PeerId([2; 32])));
    }
}
