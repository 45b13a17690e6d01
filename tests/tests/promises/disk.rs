//! A disk that is full or has become read-only: the node stays up, says so, acknowledges nothing it can't keep. From a full
//! disk it recovers by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qpq_tests::{Failure, Outcome, Random, TestNode, ensure, poll, skip};

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

/// Something else fills the disk, all but a little; the node refuses; the room comes back.
fn fill_and_empty(disk: &SmallDisk, node: &mut TestNode, to: &str, random: &mut Random) -> Outcome<Vec<String>> {
    let ballast = disk.0.join("ballast");
    let first = wait_acknowledged(node, to, "before")?;
    fill(&ballast, random.below(512) * 1024)?;
    let (mut kept, reason) = send_until_refused(node, to)?;
    ensure!(!reason.trim().is_empty(), "the refusal has no reason");
    ensure!(node.is_alive(), "the node died of a full disk");
    fs::remove_file(&ballast)?;
    kept.extend([first, wait_acknowledged(node, to, "after")?]);
    Ok(kept)
}

#[test]
fn a_full_disk_stops_acknowledgements_and_not_the_node() -> Outcome {
    if !cfg!(target_os = "linux") || !skip::is_root() {
        return skip::skip("mounting a small file system needs Linux and root");
    }
    let mut random = Random::announced("a_full_disk");
    // The disk itself fills up with what is acknowledged, so each has its own.
    for round in 0..skip::rounds(4, 90) {
        let folder = tempfile::tempdir()?;
        let disk = SmallDisk::mount(&folder.path().join("disk"), 64 + random.below(64))?;
        let mut node = TestNode::plan("full").home(disk.0.join("home")).start()?;
        let own = node.peer_id()?;
        let kept = fill_and_empty(&disk, &mut node, &own, &mut random);
        let kept = kept.map_err(|failure| node.failure(&format!("round {round}: {failure}")))?;
        node.kill()?;
        node.start()?;
        kept.iter().try_for_each(|id| node.wait_id(id).map(drop))?;
        drop(node);
        drop(disk);
    }
    Ok(())
}

/// Writes zeros into a file until the disk is full, and takes so many bytes of them off again.
fn fill(path: &Path, but: usize) -> Outcome {
    use std::io::Write;
    let mut file = fs::File::create(path)?;
    let block = vec![0; 64 * 1024];
    // Until "no space left on device".
    while file.write_all(&block).is_ok() {}
    let len = file.metadata()?.len();
    Ok(file.set_len(len.saturating_sub(but as u64))?)
}

/// A disk of its own with ext4 on it, in a file.
struct FailingDisk {
    image: PathBuf,
    at: PathBuf,
}

impl FailingDisk {
    const MEBIBYTES: u64 = 160;

    fn missing() -> bool {
        !skip::is_root() || !skip::has_program("mkfs.ext4", "-V") || !Path::new("/dev/loop-control").exists()
    }

    fn make(folder: &Path) -> Outcome<Self> {
        let disk = Self { image: folder.join("image"), at: folder.join("disk") };
        fs::File::create(&disk.image)?.set_len(Self::MEBIBYTES << 20)?;
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image).status()?;
        ensure!(made.success(), "mkfs.ext4: {made}");
        fs::create_dir(&disk.at)?;
        Ok(disk)
    }

    /// `None` where this machine has no loop devices for us.
    fn mount(&self) -> Outcome<Option<()>> {
        let options = ["-t", "ext4", "-o", "loop,errors=remount-ro"];
        let mounted = Command::new("mount").args(options).arg(&self.image).arg(&self.at).status()?;
        Ok(mounted.success().then_some(()))
    }

    /// Busy for a moment after the death of whoever used it. A process with mounts of its own that began meanwhile (`ip netns exec`
    /// makes such) may have it mounted still, read-only: so another file with the same bytes takes its place.
    fn unmount(&self) -> Outcome {
        poll::until("the disk is unmounted", || {
            Ok(Command::new("umount").arg("-q").arg(&self.at).status()?.success().then_some(()))
        })?;
        let copy = self.image.with_extension("copy");
        fs::copy(&self.image, &copy)?;
        Ok(fs::rename(&copy, &self.image)?)
    }

    /// The kernel finds an error and makes the disk read-only at once, under whoever writes to it.
    fn fail(&self) -> Outcome {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let at = self.at.to_string_lossy();
        let device = mounts.lines().find_map(|line| line.split_once(' ').filter(|(_, rest)| rest.starts_with(&*at)));
        let device = device.and_then(|(device, _)| device.strip_prefix("/dev/"));
        let device = device.ok_or_else(|| Failure::new("the disk is not mounted"))?;
        Ok(fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "a test")?)
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

#[test]
fn a_disk_that_becomes_read_only_stops_acknowledgements_and_not_the_node() -> Outcome {
    if FailingDisk::missing() {
        return skip::skip("a disk that fails needs Linux, root, mkfs.ext4 and loop devices");
    }
    for round in 0..skip::rounds(1, 10) {
        let folder = tempfile::tempdir()?;
        let disk = FailingDisk::make(folder.path())?;
        if disk.mount()?.is_none() {
            return skip::skip("no loop device can be mounted here");
        }
        let mut node = TestNode::plan("failing").home(disk.at.join("home")).start()?;
        let own = node.peer_id()?;
        let mut kept = (0..5).map(|n| node.send(&own, &format!("message {n}"))).collect::<Outcome<Vec<_>>>()?;
        disk.fail()?;
        for _ in 0..3 {
            let refused = node.run(&["mesh", "send", &own, "while it is read-only", "--json"])?;
            ensure!(refused.code == Some(1), "round {round}: taken by a read-only disk: {}", refused.stdout);
            ensure!(!refused.stderr.trim().is_empty() || !refused.stdout.trim().is_empty(), "refused without a reason");
        }
        ensure!(node.is_alive(), "the node died of a read-only disk");
        let shown = node.run(&["mesh", "inbox"])?;
        ensure!(shown.code == Some(0) && shown.stdout.contains("message 4"), "round {round}: {}", shown.stderr);
        node.kill()?;
        disk.unmount()?;
        ensure!(disk.mount()?.is_some(), "the disk can't be mounted again");
        node.start()?;
        kept.push(node.send(&own, "after")?);
        kept.iter().try_for_each(|id| node.wait_id(id).map(drop))?;
        node.kill()?;
    }
    Ok(())
}
