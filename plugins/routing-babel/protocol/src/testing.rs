//! What the tests share.

use qpq_schemas::signature::{Domain, SigningKey};

use crate::record::PLUGIN_ID;

/// Signs as the host does for a plugin.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    key.sign(Domain::PLUGIN, &[&[PLUGIN_ID.len() as u8], PLUGIN_ID.as_bytes(), message])
}
