//! Texts for the admin: the configuration file that `init` writes, and what goes into the nodes.

use crate::authority::{CA_CERTIFICATE, RELAY_CERTIFICATE, RELAY_KEY};
use crate::config::{Config, QAD_PORT};
use crate::host::Host;

/// The configuration file of a new relay.
pub(crate) fn config_file(hosts: &[Host], port: u16, qad_port: u16, ca: &str) -> String {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
    format!(
        r#"# The relay of a community network. `qpq-relay check` checks this file; every key stands in the relay's README.

# How nodes reach this relay. The certificate must name each; the first goes into the URL.
hosts = [{hosts}]

# The relay itself (TCP) and the address discovery (UDP). Open both ports in the firewall.
https = "[::]:{port}"
qad = "[::]:{qad_port}"

certificate = "{RELAY_CERTIFICATE}"
key = "{RELAY_KEY}"
ca = "{ca}"

# The peer ids (`qpq mesh identity`) of the nodes that may use this relay. Without the list, all who know the address may.
# allow = ["64 hex digits", "64 hex digits"]

# Figures for Prometheus.
# metrics = "127.0.0.1:9090"

[limits]
# max_clients = 1000
# Bytes a second that are taken from one node.
# node_bytes_per_second = 1000000
"#,
        hosts = hosts.join(", "),
    )
}

/// What goes into the configuration of each node.
pub(crate) fn for_nodes(config: &Config) -> String {
    let url = url(config);
    let mut text = format!(
        "Copy {ca} to each node, for example as /etc/qpq/{CA_CERTIFICATE}, and add to its configuration:\n\n\
         [plugins]\n\
         # beside those that are there already\n\
         load = [\"transport-quic\", \"transport-iroh\", \"discovery-mdns\", \"routing-babel\"]\n\
         trusted_with_key = [\"transport-iroh\"]\n\n\
         [plugins.transport-iroh]\n\
         relays = [\"{url}\"]\n\
         relay_ca = [\"/etc/qpq/{CA_CERTIFICATE}\"]\n",
        ca = config.ca.display(),
    );
    if config.qad.port() != QAD_PORT {
        text.push_str(&format!("relay_qad_port = {}\n", config.qad.port()));
    }
    text
}

/// How nodes reach the relay.
pub(crate) fn url(config: &Config) -> String {
    let host = config.hosts.first().map_or_else(String::new, ToString::to_string);
    match config.https.port() {
        443 => format!("https://{host}"),
        port => format!("https://{host}:{port}"),
    }
}
