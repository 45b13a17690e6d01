//! A line of network namespaces in which only neighbours can reach each other.

use std::process::Command;

use crate::{Failure, Outcome, skip};

mod lan;

pub use lan::{Family, Lan};

/// Namespaces of this harness begin so; the number after it is the process that made them.
const PREFIX: &str = "qpqlab-";

/// Several namespaces in a line, each joined to the next by a veth pair. Removed when dropped.
#[derive(Debug)]
pub struct Lab {
    names: Vec<String>,
}

impl Lab {
    /// Why this machine can't have a lab, if so.
    pub fn missing() -> Option<&'static str> {
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

    /// Makes `count` namespaces in a line. `label` keeps labs of one test program apart.
    pub fn line(label: &str, count: usize) -> Outcome<Self> {
        sweep();
        let mut lab = Self { names: Vec::new() };
        for place in 0..count {
            lab.add(&format!("{PREFIX}{}-{label}{place}", std::process::id()))?;
        }
        for left in 0..count.saturating_sub(1) {
            lab.join(left)?;
        }
        Ok(lab)
    }

    /// The namespace at a place in the line.
    pub fn namespace(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// The address of the node at `place` on its link to the left neighbour, or to the right one when `right`.
    pub fn address(place: usize, right: bool) -> String {
        if right { format!("10.77.{place}.1") } else { format!("10.77.{}.2", place.saturating_sub(1)) }
    }

    /// Whether the namespace at `from` has any way to `address`.
    pub fn has_route(&self, from: usize, address: &str) -> bool {
        ip(&["-n", self.namespace(from), "route", "get", address]).is_ok()
    }

    /// Cuts or mends the link between `left` and its right neighbour.
    pub fn set_link(&self, left: usize, up: bool) -> Outcome {
        ip(&["-n", self.namespace(left), "link", "set", "right", if up { "up" } else { "down" }])
    }

    fn add(&mut self, name: &str) -> Outcome {
        ip(&["netns", "add", name])?;
        self.names.push(name.to_owned());
        ip(&["-n", name, "link", "set", "lo", "up"])
    }

    fn join(&self, left: usize) -> Outcome {
        let (here, there) = (self.namespace(left), self.namespace(left + 1));
        ip(&["link", "add", "right", "netns", here, "type", "veth", "peer", "name", "left", "netns", there])?;
        for (namespace, device, address) in
            [(here, "right", Self::address(left, true)), (there, "left", Self::address(left + 1, false))]
        {
            ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", device])?;
            ip(&["-n", namespace, "link", "set", device, "up"])?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            // Nothing more can be done here; the next lab sweeps up what is left.
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// Removes the namespaces of test programs that died before they could.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Outcome {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_line_only_neighbours_reach_each_other() -> Outcome {
        if let Some(why) = Lab::missing() {
            return skip::skip(why);
        }
        let lab = Lab::line("self", 3)?;
        assert!(lab.has_route(0, &Lab::address(1, false)));
        assert!(lab.has_route(2, &Lab::address(1, true)));
        assert!(!lab.has_route(0, &Lab::address(2, false)), "A must not reach C");
        assert!(!lab.has_route(2, &Lab::address(0, true)), "C must not reach A");
        let name = lab.namespace(0).to_owned();
        drop(lab);
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
        Ok(())
    }
}
