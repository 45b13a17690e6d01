//! Communities with certificates, made by the commands that their admins use.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::lab::Lan;
use crate::{Failure, Outcome, Plan, TestNode, binaries};

/// Where gateways listen in a lab, where each has an address of its own.
const PORT: u16 = 7001;

/// A domain, and where its gateway listens.
#[derive(Debug)]
pub struct Domain {
    name: &'static str,
    address: String,
}

impl Domain {
    /// With a gateway on a free port of the loopback interface.
    pub fn new(name: &'static str) -> Outcome<Self> {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { name, address: format!("127.0.0.1:{port}") })
    }

    /// Where its gateway listens, HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A node of the domain behind its gateway.
    pub fn inner(&self, gateway: &TestNode) -> Plan {
        let config = format!("domain = \"{}\"\n", self.name);
        TestNode::plan(&format!("inner-{}", self.name)).config(config).peer(gateway.address())
    }
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    /// What its servers trust.
    trusted: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Outcome<Self> {
        let folder = TempDir::new()?;
        let trusted = folder.path().join("ca.pem");
        federation(folder.path(), &["ca", "--name", name])?;
        Ok(Self { folder, trusted })
    }

    /// Its servers trust another authority, too, for a domain.
    pub fn trusting(&self, other: &Self, domain: &str) -> Outcome<Self> {
        let others = other.folder.path().join("ca.pem").display().to_string();
        let out = TempDir::new()?;
        copy_all(self.folder.path(), out.path())?;
        federation(out.path(), &["cross-sign", &others, "--permit", domain])?;
        let trusted = out.path().join("trusted.pem");
        let cross = std::fs::read_to_string(out.path().join(format!("cross-{domain}.pem")))?;
        std::fs::write(&trusted, std::fs::read_to_string(out.path().join("ca.pem"))? + &cross)?;
        Ok(Self { folder: out, trusted })
    }

    /// A gateway of a domain that keeps links to others. `more` goes into `[federation]`.
    pub fn gateway(&self, domain: &Domain, peers: &[&Domain], more: &str) -> Outcome<Plan> {
        let peers: Vec<_> = peers.iter().map(|peer| format!("\"{}@{}\"", peer.name, peer.address)).collect();
        self.plan(domain.name, &domain.address, &peers, more)
    }

    /// A gateway in a network of its own, where the usual ports are free. `peers` as in `[federation]`, `more` goes in there.
    pub fn gateway_in(&self, namespace: &str, domain: &str, peers: &[&str], more: &str) -> Outcome<Plan> {
        let peers: Vec<_> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let plan = self.plan(domain, &format!("0.0.0.0:{PORT}"), &peers, more)?;
        Ok(plan.namespace(namespace).listen("0.0.0.0:7000"))
    }

    fn plan(&self, domain: &str, listen: &str, peers: &[String], more: &str) -> Outcome<Plan> {
        let out = self.folder.path().join(domain).display().to_string();
        if !Path::new(&out).exists() {
            federation(self.folder.path(), &["cert", domain, "--out", &out])?;
        }
        let config = format!(
            "federation_enabled = true\nfederation_domain = \"{domain}\"\nfederation_listen = \"{listen}\"\n\
             federation_cert = \"{out}/{domain}.pem\"\nfederation_key = \"{out}/{domain}.key\"\n\
             federation_ca = \"{}\"\n[federation]\npeers = [{}]\n{more}",
            self.trusted.display(),
            peers.join(", ")
        );
        Ok(TestNode::plan(domain).config(config))
    }

    /// Three gateways that all keep links to each other, in three namespaces of a LAN.
    pub fn triangle(&self, lan: &Lan) -> Outcome<Vec<TestNode>> {
        const NAMES: [&str; 3] = ["a.mesh", "b.mesh", "c.mesh"];
        let at = |host: usize| format!("{}:{PORT}", Lan::address(host, 0));
        let start = |host: usize, name: &str| {
            let others = (0..NAMES.len()).filter(|other| *other != host);
            let peers: Vec<_> = others.map(|other| format!("\"{}@{}\"", NAMES[other], at(other))).collect();
            let plan = self.plan(name, &at(host), &peers, "")?;
            plan.namespace(lan.namespace(host)).listen("127.0.0.1:7000").start()
        };
        let nodes = NAMES.iter().enumerate().map(|(host, name)| start(host, name)).collect::<Outcome<Vec<_>>>()?;
        nodes.iter().try_for_each(|node| node.wait_links(2))?;
        Ok(nodes)
    }
}

/// `qpq federation …` in a folder.
fn federation(folder: &Path, arguments: &[&str]) -> Outcome {
    let output = Command::new(binaries::qpq()?).arg("federation").args(arguments).current_dir(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("federation {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

fn copy_all(from: &Path, to: &Path) -> Outcome {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Why a node can't reach a domain, as it says.
pub fn last_error(node: &TestNode, domain: &str) -> Outcome<Option<String>> {
    let status = node.json(&["federation", "status"])?;
    let mut domains = status["domains"].as_array().into_iter().flatten();
    let info = domains.find(|info| info["domain"] == domain);
    Ok(info.and_then(|info| info["last_error"].as_str()).map(str::to_owned))
}

/// The other domains that a node has links to, as it says.
pub fn linked(node: &TestNode) -> Outcome<Vec<String>> {
    let status = node.json(&["federation", "status"])?;
    let up = status["domains"].as_array().into_iter().flatten().filter(|info| info["state"] == "up");
    Ok(up.filter_map(|info| info["domain"].as_str()).map(str::to_owned).collect())
}

/// Why a node refused a domain, as it says.
pub fn refused(node: &TestNode, domain: &str) -> Outcome<Option<String>> {
    let status = node.json(&["federation", "status"])?;
    let mut rows = status["refused"].as_array().into_iter().flatten();
    Ok(rows.find(|row| row["domain"] == domain).and_then(|row| row["reason"].as_str()).map(str::to_owned))
}
