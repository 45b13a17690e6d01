//! Machines on one plain switch, like those in one house, with the addresses that are wanted.

use std::process::{Command, Output};

use super::Spaces;
use crate::Outcome;

/// Which addresses the machines of a [`House`] have.
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
pub struct House {
    spaces: Spaces,
    hub: usize,
}

impl House {
    /// Why this machine can't have a house, if so.
    pub fn missing() -> Option<&'static str> {
        Spaces::missing()
    }

    /// Makes `count` machines. `label` keeps labs of one test program apart.
    pub fn new(label: &str, count: usize, family: Family) -> Outcome<Self> {
        let mut spaces = Spaces::new(label);
        let hub = spaces.add()?;
        let mut house = Self { spaces, hub };
        // Without snooping the bridge floods multicast, as a plain switch does.
        house.spaces.ip(hub, "link add br0 type bridge mcast_snooping 0")?;
        house.spaces.ip(hub, "link set br0 up")?;
        for machine in 0..count {
            house.add(machine, family)?;
        }
        Ok(house)
    }

    /// The namespace of a machine.
    pub fn namespace(&self, machine: usize) -> &str {
        self.spaces.name(self.place(machine))
    }

    /// The IPv4 address of a machine.
    pub fn address(machine: usize) -> String {
        format!("10.88.0.{}", machine + 1)
    }

    /// Unplugs a machine, or plugs it in again.
    pub fn plug(&self, machine: usize, plugged: bool) -> Outcome {
        self.spaces.ip(self.place(machine), if plugged { "link set eth0 up" } else { "link set eth0 down" })
    }

    /// Gives a machine another IPv4 address in place of the one that it has.
    pub fn renumber(&self, machine: usize, address: &str) -> Outcome {
        self.spaces.ip(self.place(machine), "address flush dev eth0 scope global")?;
        self.spaces.address(self.place(machine), "eth0", &format!("{address}/24"))
    }

    /// Writes the resolv.conf of programs that are started on a machine afterwards.
    pub fn resolv_conf(&self, machine: usize, text: &str) -> Outcome {
        self.spaces.resolv_conf(self.place(machine), text)
    }

    /// A command that runs on a machine.
    pub fn command(&self, machine: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(machine), program]);
        command
    }

    /// Runs a shell script on a machine, and waits for its end.
    pub fn shell(&self, machine: usize, script: &str) -> Outcome<Output> {
        Ok(self.command(machine, "sh").args(["-c", script]).output()?)
    }

    fn place(&self, machine: usize) -> usize {
        self.hub + 1 + machine
    }

    fn add(&mut self, machine: usize, family: Family) -> Outcome {
        let (place, port) = (self.spaces.add()?, format!("port{machine}"));
        self.spaces.cable((place, "eth0"), (self.hub, &port))?;
        self.spaces.ip(self.hub, &format!("link set {port} master br0 up"))?;
        self.shell(
            machine,
            match family {
                Family::V4 => "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6",
                // Otherwise a new address can't be used for a second or two.
                Family::V6 | Family::LinkLocal => "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad",
            },
        )?;
        match family {
            Family::V4 => self.spaces.address(place, "eth0", &format!("{}/24", Self::address(machine))),
            Family::V6 => self.spaces.address(place, "eth0", &format!("fd88::{:x}/64", machine + 1)),
            Family::LinkLocal => self.spaces.ip(place, "link set eth0 up"),
        }
    }
}
