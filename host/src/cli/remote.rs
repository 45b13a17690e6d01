//! A node over the network, for the command line and the prompt.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::daemon;
use super::failure::Failure;
use crate::api::NodeApi;
use crate::control::quic::Target;
use crate::control::{HomeClient, RemoteNode, Role, Welcome, identity_of};

/// Connects with the identity in the data directory, which is made on first use.
pub(super) fn connect(home: &Path, target: &Target) -> Result<Arc<dyn NodeApi>, Failure> {
    daemon::prepare_home(home)?;
    let identity = identity_of(home).map_err(|error| Failure::new("identity", error.to_string()))?;
    let Welcome { node, key, role, first_met } = RemoteNode::dial(home, &identity, target)?;
    if first_met {
        let note = format!("note: met the node {key} at {target} for the first time; its key is noted in known_nodes");
        let _ = writeln!(std::io::stderr(), "{note}"); // whoever closed it doesn't want to know
    }
    if role != Role::User {
        return Ok(Arc::new(node));
    }
    if daemon::lock::is_held(home) {
        let home = home.display();
        let text = format!(
            "A node runs in {home}, whose mail is its own. Talk to it without --connect, or be somebody else's user from another data directory (--home)."
        );
        return Err(Failure::new("home-in-use", text));
    }
    let client = HomeClient::open(home, node, key).map_err(|error| Failure::new("client", error.to_string()))?;
    Ok(Arc::new(client))
}
