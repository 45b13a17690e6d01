//! Several network namespaces on one bridge, like machines in one house.

use std::process::{Command, Output};

use super::{PREFIX, ip, sweep};
use crate::Outcome;

/// Which addresses the machines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone; IPv6 is switched off.
    V4,
    /// IPv6 alone, a private and a link-local address.
    V6,
    /// IPv6 alone, and nothing but link-local addresses.
    LinkLocal,
}

/// Namespaces whose `eth0` are on one bridge. Removed when dropped.
#[derive(Debug)]
pub struct Lan {
    hub: String,
    names: Vec<String>,
}

impl Lan {
    /// Makes `count` namespaces. `label` keeps labs of one test program apart.
    pub fn new(label: &str, count: usize, family: Family) -> Outcome<Self> {
        sweep();
        let name = |place: &str| format!("{PREFIX}{}-{label}{place}", std::process::id());
        let hub = name("hub");
        ip(&["netns", "add", &hub])?;
        let mut lan = Self { hub, names: Vec::new() };
        // Without snooping the bridge floods multicast, as a plain switch does.
        ip(&["-n", &lan.hub, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &lan.hub, "link", "set", "br0", "up"])?;
        for place in 0..count {
            lan.add(&name(&place.to_string()), place, family)?;
        }
        Ok(lan)
    }

    /// The namespace of a machine.
    pub fn namespace(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// The IPv4 address of a machine.
    pub fn address(place: usize) -> String {
        format!("10.88.0.{}", place + 1)
    }

    /// Unplugs a machine, or plugs it in again.
    pub fn plug(&self, place: usize, plugged: bool) -> Outcome {
        ip(&["-n", self.namespace(place), "link", "set", "eth0", if plugged { "up" } else { "down" }])
    }

    /// Gives a machine another IPv4 address in place of the one that it has.
    pub fn renumber(&self, place: usize, address: &str) -> Outcome {
        let namespace = self.namespace(place);
        ip(&["-n", namespace, "addr", "flush", "dev", "eth0", "scope", "global"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])
    }

    /// A command that runs on a machine.
    pub fn command(&self, place: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(place), program]);
        command
    }

    /// Runs a shell script on a machine, and waits for its end.
    pub fn shell(&self, place: usize, script: &str) -> Outcome<Output> {
        Ok(self.command(place, "sh").args(["-c", script]).output()?)
    }

    fn add(&mut self, name: &str, place: usize, family: Family) -> Outcome {
        ip(&["netns", "add", name])?;
        self.names.push(name.to_owned());
        let port = format!("port{place}");
        ip(&["link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", &port, "netns", &self.hub])?;
        ip(&["-n", &self.hub, "link", "set", &port, "master", "br0", "up"])?;
        let switch = match family {
            Family::V4 => "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6",
            // Otherwise a new address can't be used for a second or two.
            Family::V6 | Family::LinkLocal => "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
        };
        self.shell(place, switch)?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        match family {
            Family::V4 => {
                ip(&["-n", name, "addr", "add", &format!("{}/24", Self::address(place)), "dev", "eth0"])?;
            }
            Family::V6 => {
                let address = format!("fd88::{:x}/64", place + 1);
                ip(&["-n", name, "addr", "add", &address, "dev", "eth0", "nodad"])?;
            }
            Family::LinkLocal => {}
        }
        ip(&["-n", name, "link", "set", "eth0", "up"])
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.hub]) {
            // Nothing more can be done here; the next lab sweeps up what is left.
            let _ = ip(&["netns", "del", name]);
        }
    }
}
