//! babeld's local interface: one `add` line for each neighbour and route.

use crate::api::{MachineGateway, MachineReport};

use super::neighbour;

/// Reads the answer to `dump`. Lines of other kinds, and what a newer babeld may add, are passed over.
pub(super) fn read(text: &str, report: &mut MachineReport) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("add"), Some("neighbour")) => {
                let (address, interface) = (field(line, "address"), field(line, "if"));
                let mut found = neighbour("babel", address.unwrap_or_default(), interface.unwrap_or_default());
                found.cost = field(line, "cost").and_then(|cost| cost.parse().ok());
                // The last hellos as bits, newest first: how many of 16 were heard.
                let reach = field(line, "reach").and_then(|bits| u16::from_str_radix(bits, 16).ok());
                found.quality = reach.map(|bits| f64::from(bits.count_ones()) / 16.0);
                report.neighbours.push(found);
            }
            (Some("add"), Some("route")) => {
                report.routes += 1;
                let default = matches!(field(line, "prefix"), Some("0.0.0.0/0" | "::/0"));
                if default && field(line, "installed") == Some("yes") {
                    report.gateways.push(MachineGateway {
                        protocol: "babel".to_owned(),
                        address: super::super::api::clean(field(line, "id").unwrap_or_default(), 64),
                        via: super::super::api::clean(field(line, "via").unwrap_or_default(), 64),
                    });
                }
            }
            _ => {}
        }
    }
}

/// The word behind a name.
fn field<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let mut words = line.split_whitespace().skip(2);
    words.by_ref().find(|word| *word == name)?;
    words.next()
}
