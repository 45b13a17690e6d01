//! Networks made of namespaces: a line, a LAN that can be torn apart, and hosts behind routers that translate addresses.

mod house;
mod inside;
mod lan;
mod nat;
#[cfg(test)]
mod reach;
mod spaces;

pub use house::{Family, House};
pub use inside::inside;
pub use lan::Lan;
pub use nat::{Nat, NatLab};
use spaces::Spaces;

use crate::Outcome;

/// Several namespaces in a line, each joined to the next by a veth pair. Removed when dropped.
#[derive(Debug)]
pub struct Lab {
    spaces: Spaces,
}

impl Lab {
    /// Why this machine can't have a lab, if so.
    pub fn missing() -> Option<&'static str> {
        Spaces::missing()
    }

    /// Makes `count` namespaces in a line. `label` keeps labs of one test program apart.
    pub fn line(label: &str, count: usize) -> Outcome<Self> {
        let mut lab = Self { spaces: Spaces::new(label) };
        for _ in 0..count {
            lab.spaces.add()?;
        }
        for left in 0..count.saturating_sub(1) {
            lab.join(left)?;
        }
        Ok(lab)
    }

    /// The namespace at a place in the line.
    pub fn namespace(&self, place: usize) -> &str {
        self.spaces.name(place)
    }

    /// The address of the node at `place` on its link to the left neighbour, or to the right one when `right`.
    pub fn address(place: usize, right: bool) -> String {
        if right { format!("10.77.{place}.1") } else { format!("10.77.{}.2", place.saturating_sub(1)) }
    }

    /// Whether the namespace at `from` has any way to `address`.
    pub fn has_route(&self, from: usize, address: &str) -> bool {
        self.spaces.ip(from, &format!("route get {address}")).is_ok()
    }

    /// Why this machine can't filter packets in a lab, if so.
    pub fn filters_missing() -> Option<&'static str> {
        Spaces::filters_missing()
    }

    /// From now on nobody reaches the node at `place` by UDP but at that port, as behind a strict firewall.
    pub fn shut_ports_but(&self, place: usize, port: u16) -> Outcome {
        let chain = "type filter hook input priority 0;";
        let rule = format!("iifname != lo ct state new udp dport != {port} drop");
        self.spaces.nft(place, &format!("table inet wall {{ chain in {{ {chain} {rule}; }}; }}\n"))
    }

    /// Cuts or mends the link between `left` and its right neighbour.
    pub fn set_link(&self, left: usize, up: bool) -> Outcome {
        self.spaces.ip(left, if up { "link set right up" } else { "link set right down" })
    }

    fn join(&self, left: usize) -> Outcome {
        self.spaces.cable((left, "right"), (left + 1, "left"))?;
        self.spaces.address(left, "right", &format!("{}/24", Self::address(left, true)))?;
        self.spaces.address(left + 1, "left", &format!("{}/24", Self::address(left + 1, false)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip;

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
