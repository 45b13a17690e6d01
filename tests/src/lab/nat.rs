//! Two hosts behind routers that translate addresses (NAT), and a place on the outside for a relay.

use super::Spaces;
use crate::Outcome;

/// Places of the namespaces.
const OUTSIDE: usize = 0;

/// What a router does with the addresses of those behind it. None lets in what nobody inside asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One outside port for an inside port, whomever it talks to: what most home routers and Linux do. Holes can be punched.
    Cone,
    /// Another random outside port for every destination. Holes can't be punched between two of these.
    Symmetric,
}

/// Hosts 0 and 1, each behind a router of its own. Removed when dropped.
///
/// The routers meet in the outside, 198.51.100.0/24, where a relay can run at [`NatLab::OUTSIDE_ADDRESS`].
#[derive(Debug)]
pub struct NatLab {
    spaces: Spaces,
}

impl NatLab {
    /// The address of the namespace outside.
    pub const OUTSIDE_ADDRESS: &'static str = "198.51.100.1";

    /// Why this machine can't have routers, if so.
    pub fn missing() -> Option<&'static str> {
        Spaces::filters_missing()
    }

    /// Makes the outside, two routers and two hosts. `label` keeps labs of one test program apart.
    pub fn new(label: &str, nat: Nat) -> Outcome<Self> {
        let mut spaces = Spaces::new(label);
        for _ in 0..5 {
            spaces.add()?;
        }
        let lab = Self { spaces };
        lab.spaces.ip(OUTSIDE, "link add net type bridge")?;
        lab.spaces.address(OUTSIDE, "net", &format!("{}/24", Self::OUTSIDE_ADDRESS))?;
        for side in 0..2 {
            lab.wire(side)?;
            lab.spaces.nft(router(side), &rules(nat))?;
        }
        Ok(lab)
    }

    fn wire(&self, side: usize) -> Outcome {
        let (router, host) = (router(side), host(side));
        let port = format!("r{side}");
        self.spaces.cable((OUTSIDE, &port), (router, "wan"))?;
        self.spaces.ip(OUTSIDE, &format!("link set {port} up master net"))?;
        self.spaces.address(router, "wan", &format!("{}/24", Self::router_address(side)))?;
        self.spaces.cable((router, "lan"), (host, "eth0"))?;
        self.spaces.address(router, "lan", &format!("10.79.{side}.1/24"))?;
        self.spaces.address(host, "eth0", &format!("10.79.{side}.2/24"))?;
        self.spaces.ip(host, &format!("route add default via 10.79.{side}.1"))?;
        self.spaces.forward(router)
    }

    /// The namespace outside, where a relay can run.
    pub fn outside(&self) -> &str {
        self.spaces.name(OUTSIDE)
    }

    /// The namespace of a host, 0 or 1.
    pub fn namespace(&self, side: usize) -> &str {
        self.spaces.name(host(side))
    }

    /// What a host looks like from outside.
    pub fn router_address(side: usize) -> String {
        format!("198.51.100.{}", 11 + side)
    }

    /// The routers let no UDP through any more but to and from the outside namespace.
    pub fn block_udp_between(&self) -> Outcome {
        for side in 0..2 {
            let outside = Self::OUTSIDE_ADDRESS;
            let rules = format!(
                "insert rule inet nat forward iifname wan ip saddr != {outside} udp dport 1-65535 drop\n\
                 insert rule inet nat forward oifname wan ip daddr != {outside} udp dport 1-65535 drop\n"
            );
            self.spaces.nft(router(side), &rules)?;
        }
        Ok(())
    }

    /// The namespace outside hears nothing any more; what passes through it goes on.
    pub fn isolate_outside(&self) -> Outcome {
        let rules = "table inet cut { chain input { type filter hook input priority 0; iifname net drop; }; }\n";
        self.spaces.nft(OUTSIDE, rules)
    }

    /// The host gets another address behind its router, which replaces the old one.
    pub fn change_address(&self, side: usize, last_byte: u8) -> Outcome {
        let host = host(side);
        self.spaces.ip(host, "address flush dev eth0")?;
        self.spaces.address(host, "eth0", &format!("10.79.{side}.{last_byte}/24"))?;
        self.spaces.ip(host, &format!("route replace default via 10.79.{side}.1"))
    }
}

fn router(side: usize) -> usize {
    1 + 2 * side
}

fn host(side: usize) -> usize {
    2 + 2 * side
}

fn rules(nat: Nat) -> String {
    let masquerade = match nat {
        // The kernel keeps the port where it can, so all destinations see the same one.
        Nat::Cone => "masquerade",
        Nat::Symmetric => "masquerade fully-random",
    };
    // What comes in unasked must be dropped before the kernel remembers it: else it takes the port from the host inside.
    format!(
        "table inet nat {{\n\
           chain out {{ type nat hook postrouting priority 100; oifname wan {masquerade}; }}\n\
           chain input {{ type filter hook input priority 0; iifname wan drop; }}\n\
           chain forward {{ type filter hook forward priority 0; ct state established,related accept; iifname wan drop; }}\n\
         }}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    use super::*;
    use crate::lab::reach::socket_in;
    use crate::{ensure, skip};

    /// A datagram that gets there, and where it seems to come from.
    fn seen(from: &UdpSocket, at: &UdpSocket) -> Outcome<Option<SocketAddr>> {
        at.set_read_timeout(Some(Duration::from_millis(200)))?;
        for _ in 0..5 {
            let _ = from.send_to(b"probe", at.local_addr()?);
            if let Ok((_, source)) = at.recv_from(&mut [0; 8]) {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    fn two_outside(lab: &NatLab) -> Outcome<(UdpSocket, UdpSocket)> {
        let address = format!("{}:0", NatLab::OUTSIDE_ADDRESS);
        Ok((socket_in(lab.outside(), &address)?, socket_in(lab.outside(), &address)?))
    }

    #[test]
    fn routers_translate_as_they_say() -> Outcome {
        if let Some(why) = NatLab::missing() {
            return skip::skip(why);
        }
        for (nat, same) in [(Nat::Cone, true), (Nat::Symmetric, false)] {
            let lab = NatLab::new("selfnat", nat)?;
            let (one, two) = two_outside(&lab)?;
            let inside = socket_in(lab.namespace(0), "0.0.0.0:0")?;
            let (first, second) = (seen(&inside, &one)?, seen(&inside, &two)?);
            let (Some(first), Some(second)) = (first, second) else { return ensure_reached() };
            ensure!(first.ip().to_string() == NatLab::router_address(0), "{nat:?}: seen as {first}");
            ensure!((first == second) == same, "{nat:?}: seen as {first} and {second}");
        }
        Ok(())
    }

    fn ensure_reached() -> Outcome {
        Err(crate::Failure::new("the outside can't be reached from behind a router"))
    }

    #[test]
    fn a_hole_must_be_punched_from_both_sides_and_can_be_closed() -> Outcome {
        if let Some(why) = NatLab::missing() {
            return skip::skip(why);
        }
        let lab = NatLab::new("selfhole", Nat::Cone)?;
        let sockets = [0, 1].map(|side| socket_in(lab.namespace(side), "0.0.0.0:7777"));
        let [Ok(left), Ok(right)] = sockets else { return ensure_reached() };
        for socket in [&left, &right] {
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        }
        let to = |side| format!("{}:7777", NatLab::router_address(side));
        left.send_to(b"probe", to(1))?;
        ensure!(right.recv(&mut [0; 8]).is_err(), "what nobody asked for came in");
        right.send_to(b"probe", to(0))?;
        left.send_to(b"probe", to(1))?;
        ensure!(right.recv(&mut [0; 8]).is_ok(), "the hole isn't open");
        lab.block_udp_between()?;
        left.send_to(b"probe", to(1))?;
        ensure!(right.recv(&mut [0; 8]).is_err(), "UDP isn't blocked");
        let (one, _) = two_outside(&lab)?;
        ensure!(seen(&left, &one)?.is_some(), "the outside must stay reachable");
        Ok(())
    }
}
