//! Hosts on one or more LANs that can be torn apart, silently: no device goes down, packets just don't come.

use super::Spaces;
use crate::Outcome;

/// Hosts `0 .. count`, each with one device on each LAN. Removed when dropped.
///
/// A hub namespace has two bridges for each LAN, side A and side B. All hosts begin on side A.
#[derive(Debug)]
pub struct Lan {
    spaces: Spaces,
    hub: usize,
    hosts: usize,
    lans: usize,
}

impl Lan {
    /// Why this machine can't have a LAN, if so.
    pub fn missing() -> Option<&'static str> {
        Spaces::missing()
    }

    /// Why this machine can't have a LAN in which packets get lost in one direction, if so.
    pub fn one_way_missing() -> Option<&'static str> {
        Spaces::filters_missing()
    }

    /// Makes `hosts` namespaces, all on one LAN. `label` keeps labs of one test program apart.
    pub fn new(label: &str, hosts: usize) -> Outcome<Self> {
        Self::several(label, hosts, 1)
    }

    /// Makes `hosts` namespaces that are joined by several LANs at once.
    pub fn several(label: &str, hosts: usize, lans: usize) -> Outcome<Self> {
        let mut spaces = Spaces::new(label);
        let hub = spaces.add()?;
        let lab = Self { spaces, hub, hosts, lans };
        lab.plug_in()
    }

    fn plug_in(mut self) -> Outcome<Self> {
        for lan in 0..self.lans {
            for side in ["a", "b"] {
                self.spaces.ip(self.hub, &format!("link add {side}{lan} type bridge"))?;
                self.spaces.ip(self.hub, &format!("link set {side}{lan} up"))?;
            }
        }
        for host in 0..self.hosts {
            let place = self.spaces.add()?;
            for lan in 0..self.lans {
                let device = format!("eth{lan}");
                self.spaces.cable((self.hub, &port(host, lan)), (place, &device))?;
                self.spaces.address(place, &device, &format!("{}/24", Self::address(host, lan)))?;
                self.spaces.ip(self.hub, &format!("link set {} up", port(host, lan)))?;
                self.put(host, lan, "a")?;
            }
        }
        Ok(self)
    }

    /// The namespace of a host.
    pub fn namespace(&self, host: usize) -> &str {
        self.spaces.name(self.place(host))
    }

    /// The address of a host on a LAN.
    pub fn address(host: usize, lan: usize) -> String {
        format!("10.78.{lan}.{}", host + 1)
    }

    /// Tears a LAN in two: the hosts named, and all others.
    pub fn split(&self, lan: usize, apart: &[usize]) -> Outcome {
        for host in 0..self.hosts {
            self.put(host, lan, if apart.contains(&host) { "b" } else { "a" })?;
        }
        Ok(())
    }

    /// Joins a LAN again.
    pub fn heal(&self, lan: usize) -> Outcome {
        self.split(lan, &[])
    }

    /// Loses every packet from one host to another, on all LANs; the other direction goes on.
    pub fn lose(&self, from: usize, to: usize) -> Outcome {
        let addresses: Vec<_> = (0..self.lans).map(|lan| Self::address(from, lan)).collect();
        let rules = format!(
            "add table inet lost\nadd chain inet lost in {{ type filter hook input priority 0; }}\n\
             add rule inet lost in ip saddr {{ {} }} drop\n",
            addresses.join(", ")
        );
        self.spaces.nft(self.place(to), &rules)
    }

    /// Ends all losses at a host.
    pub fn lose_nothing(&self, to: usize) -> Outcome {
        self.spaces.nft(self.place(to), "delete table inet lost\n")
    }

    /// Takes the address of a host on a LAN away, and gives it another.
    pub fn change_address(&self, host: usize, lan: usize, last_byte: u8) -> Outcome {
        self.spaces.ip(self.place(host), &format!("address flush dev eth{lan}"))?;
        self.spaces.address(self.place(host), &format!("eth{lan}"), &format!("10.78.{lan}.{last_byte}/24"))
    }

    fn put(&self, host: usize, lan: usize, side: &str) -> Outcome {
        self.spaces.ip(self.hub, &format!("link set {} master {side}{lan}", port(host, lan)))
    }

    fn place(&self, host: usize) -> usize {
        self.hub + 1 + host
    }
}

/// The device of the hub at the other end of a host's cable.
fn port(host: usize, lan: usize) -> String {
    format!("h{host}l{lan}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::reach::reaches;
    use crate::skip;

    #[test]
    fn a_lan_is_torn_and_healed_silently() -> Outcome {
        if let Some(why) = Lan::missing() {
            return skip::skip(why);
        }
        let lan = Lan::several("selflan", 3, 2)?;
        let reach =
            |from: usize, to: usize, net| reaches(lan.namespace(from), lan.namespace(to), &Lan::address(to, net));
        assert!(reach(0, 1, 0)? && reach(2, 0, 1)?);
        lan.split(0, &[1])?;
        assert!(!reach(0, 1, 0)? && !reach(1, 2, 0)?, "the first LAN is torn");
        assert!(reach(0, 2, 0)? && reach(0, 1, 1)?, "the rest is whole");
        lan.heal(0)?;
        assert!(reach(0, 1, 0)?);
        Ok(())
    }

    #[test]
    fn packets_are_lost_in_one_direction() -> Outcome {
        if let Some(why) = Lan::one_way_missing() {
            return skip::skip(why);
        }
        let lan = Lan::new("selfone", 2)?;
        lan.lose(0, 1)?;
        assert!(!reaches(lan.namespace(0), lan.namespace(1), &Lan::address(1, 0))?);
        assert!(reaches(lan.namespace(1), lan.namespace(0), &Lan::address(0, 0))?);
        lan.lose_nothing(1)?;
        assert!(reaches(lan.namespace(0), lan.namespace(1), &Lan::address(1, 0))?);
        Ok(())
    }
}
