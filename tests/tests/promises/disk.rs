//! A full disk: the node stays up, says so, acknowledges nothing it can't keep, and recovers by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qpq_tests::{Failure, Outcome, TestNode, ensure, skip};

/// A small file system of its own. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: usize) -> Outcome<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={mebibytes}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a file still open does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Sends until a message is refused; the ids of those that were acknowledged, and the reason of the refusal.
fn send_until_refused(node: &TestNode, to: &str) -> Outcome<(Vec<String>, String)> {
    let text = "x".repeat(48 * 1024);
    let mut kept = Vec::new();
    for _ in 0..1_000 {
        let output = node.run(&["mesh", "send", to, &text, "--json"])?;
        if output.code != Some(0) {
            return Ok((kept, format!("{}{}", output.stderr, output.stdout)));
        }
        let receipt: serde_json::Value = serde_json::from_str(&output.stdout)?;
        kept.push(receipt["id"].as_str().unwrap_or_default().to_owned());
    }
    Err(Failure::new("a full disk refused nothing"))
}

/// Sends a message until it is taken: on so small a disk the database's own files may fill it for a moment.
fn wait_acknowledged(node: &TestNode, to: &str, text: &str) -> Outcome<String> {
    node.wait(&format!("the message {text:?} is taken"), || {
        let output = node.run(&["mesh", "send", to, text, "--json"])?;
        let receipt = serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap_or_default();
        Ok(receipt["id"].as_str().map(str::to_owned))
    })
}

#[test]
fn a_full_disk_stops_acknowledgements_and_not_the_node() -> Outcome {
    if !cfg!(target_os = "linux") || !skip::is_root() {
        return skip::skip("mounting a small file system needs Linux and root");
    }
    let folder = tempfile::tempdir()?;
    let disk = SmallDisk::mount(&folder.path().join("disk"), 24)?;
    let mut node = TestNode::plan("full").home(disk.0.join("home")).start()?;
    let own = node.peer_id()?;
    // Something else fills the disk, all but a little.
    let ballast = disk.0.join("ballast");
    let first = wait_acknowledged(&node, &own, "before")?;
    fill(&ballast)?;
    let (mut kept, reason) = send_until_refused(&node, &own)?;
    ensure!(!reason.trim().is_empty(), "the refusal has no reason");
    ensure!(node.is_alive(), "the node died of a full disk");
    fs::remove_file(&ballast)?;
    let id = wait_acknowledged(&node, &own, "after")?;
    kept.extend([first, id]);
    node.kill()?;
    node.start()?;
    for id in &kept {
        node.wait_id(id)?;
    }
    drop(node);
    drop(disk);
    Ok(())
}

/// Writes zeros into a file until the disk is full.
fn fill(path: &Path) -> Outcome {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    let block = vec![0; 64 * 1024];
    // Until "no space left on device".
    while file.write_all(&block).is_ok() {}
    Ok(())
}
