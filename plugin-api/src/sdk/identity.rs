#![allow(unsafe_code, reason = "calls the function pointers that the host handed over")]

use crate::abi::{HostIdentity, Slice, sign_purpose};
use crate::sdk::error::Error;
use crate::sdk::host::Host;

/// The node's identity: its public key, signatures of limited purpose, and a key of the plugin's own. Never the secret.
#[derive(Clone, Copy)]
pub struct Identity {
    host: Host,
    vtable: &'static HostIdentity,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    pub(crate) fn new(host: Host, vtable: &'static HostIdentity) -> Self {
        Self { host, vtable }
    }

    /// The node's Ed25519 public key, which is its peer id.
    pub fn public_key(&self) -> Result<[u8; 32], Error> {
        let mut out = [0; 32];
        let f = self.vtable.public_key.ok_or_else(|| missing("public_key"))?;
        // SAFETY: `out` has the 32 bytes that the function writes.
        let status = unsafe { f(self.host.ctx(), out.as_mut_ptr()) };
        Error::check(status, "the host gave no public key").map(|()| out)
    }

    /// Signs `message` for this plugin's own protocol, see [`sign_purpose::PLUGIN`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.sign_for(sign_purpose::PLUGIN, message)
    }

    /// Signs the content of a TLS 1.3 `CertificateVerify`, see [`sign_purpose::TLS13`].
    pub fn sign_tls13(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        self.sign_for(sign_purpose::TLS13, message)
    }

    fn sign_for(&self, purpose: u32, message: &[u8]) -> Result<[u8; 64], Error> {
        let mut out = [0; 64];
        let f = self.vtable.sign.ok_or_else(|| missing("sign"))?;
        // SAFETY: `message` outlives the call, `out` has the 64 bytes that the function writes.
        let status = unsafe { f(self.host.ctx(), purpose, Slice::new(message), out.as_mut_ptr()) };
        Error::check(status, "the host refused to sign").map(|()| out)
    }

    /// A secret seed that only this plugin gets from this identity, the same at each start.
    pub fn transport_subkey(&self) -> Result<[u8; 32], Error> {
        let mut out = [0; 32];
        let f = self.vtable.transport_subkey.ok_or_else(|| missing("transport_subkey"))?;
        // SAFETY: `out` has the 32 bytes that the function writes.
        let status = unsafe { f(self.host.ctx(), out.as_mut_ptr()) };
        Error::check(status, "the host gave no sub-key").map(|()| out)
    }
}

fn missing(name: &str) -> Error {
    Error::unsupported(format!("the host does not offer {name}"))
}
