//! Network namespaces by name, and the cables between them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, Outcome, skip};

/// Namespaces of this harness begin so; the number after it is the process that made them.
const PREFIX: &str = "qpqlab-";

/// Where `ip netns exec` looks for files that stand in the place of those of `/etc` in a namespace.
const SETTINGS: &str = "/etc/netns";

/// Several network namespaces. Removed when dropped, with all that runs on their devices.
#[derive(Debug)]
pub(super) struct Spaces {
    label: String,
    names: Vec<String>,
}

impl Spaces {
    /// Why this machine can't have namespaces, if so.
    pub(super) fn missing() -> Option<&'static str> {
        if !cfg!(target_os = "linux") {
            return Some("network namespaces need Linux");
        }
        if !skip::is_root() {
            return Some("network namespaces need root");
        }
        if !skip::has_program("ip", "-V") {
            return Some("network namespaces need the `ip` program (package iproute2)");
        }
        None
    }

    /// Why this machine can't have namespaces with packet filters, if so.
    pub(super) fn filters_missing() -> Option<&'static str> {
        if !skip::has_program("nft", "--version") {
            return Some("packet filters need the `nft` program (package nftables)");
        }
        Self::missing()
    }

    /// None yet. `label` keeps labs of one test program apart.
    pub(super) fn new(label: &str) -> Self {
        sweep();
        Self { label: label.to_owned(), names: Vec::new() }
    }

    /// Makes one more, and returns its place.
    pub(super) fn add(&mut self) -> Outcome<usize> {
        let place = self.names.len();
        let name = format!("{PREFIX}{}-{}{place}", std::process::id(), self.label);
        run_ip(&["netns", "add", &name])?;
        self.names.push(name);
        self.ip(place, "link set lo up")?;
        Ok(place)
    }

    /// The name of the namespace at a place.
    pub(super) fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// Joins a device of one namespace to a device of another.
    pub(super) fn cable(&self, (left, device): (usize, &str), (right, peer): (usize, &str)) -> Outcome {
        let (left, right) = (self.name(left), self.name(right));
        run_ip(&["link", "add", device, "netns", left, "type", "veth", "peer", "name", peer, "netns", right])
    }

    /// Gives a device its address with prefix length, and turns it on.
    pub(super) fn address(&self, place: usize, device: &str, address: &str) -> Outcome {
        self.ip(place, &format!("address add {address} dev {device}"))?;
        self.ip(place, &format!("link set {device} up"))
    }

    /// Runs `ip` in a namespace, with words separated by spaces.
    pub(super) fn ip(&self, place: usize, words: &str) -> Outcome {
        let words: Vec<_> = ["-n", self.name(place)].into_iter().chain(words.split_whitespace()).collect();
        run_ip(&words)
    }

    /// Loads rules in the language of `nft` into a namespace.
    pub(super) fn nft(&self, place: usize, rules: &str) -> Outcome {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", self.name(place), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(rules.as_bytes())?;
        }
        let output = nft.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("nft: {}\n{rules}", String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// Writes the resolv.conf of programs that are started in a namespace afterwards.
    pub(super) fn resolv_conf(&self, place: usize, text: &str) -> Outcome {
        let folder = Path::new(SETTINGS).join(self.name(place));
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join("resolv.conf"), text)?)
    }

    /// Lets a namespace pass on packets.
    pub(super) fn forward(&self, place: usize) -> Outcome {
        let set = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let status = Command::new("ip").args(["netns", "exec", self.name(place), "sh", "-c", set]).status()?;
        if status.success() { Ok(()) } else { Err(Failure::new("forwarding can't be turned on in a namespace")) }
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for name in &self.names {
            remove(name);
        }
    }
}

/// Removes the namespaces of test programs that died before they could.
fn sweep() {
    let entries = ["/run/netns", SETTINGS].map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

/// Nothing more can be done where it fails; the next lab sweeps up what is left.
fn remove(name: &str) {
    let _ = run_ip(&["netns", "del", name]);
    let _ = std::fs::remove_dir_all(Path::new(SETTINGS).join(name));
}

fn run_ip(arguments: &[&str]) -> Outcome {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}
