#![allow(unsafe_code, reason = "calls the function pointers that the host handed over")]

use zeroize::Zeroizing;

use crate::abi::{HostIdentity, Slice, Status, sign_purpose};
use crate::sdk::error::Error;
use crate::sdk::host::Host;

/// The node's identity: its public key, signatures of limited purpose, and a key of the plugin's own. The secret only where
/// the admin trusts the plugin with it.
#[derive(Clone, Copy)]
pub struct Identity {
    host: Host,
    vtable: HostIdentity,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    pub(crate) fn new(host: Host, vtable: HostIdentity) -> Self {
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

    /// The secret of the node's key: the seed of Ed25519 (RFC 8032). It is wiped when dropped; wipe every copy of it too.
    ///
    /// Ask for it only when the library that you build on can't sign through [`Self::sign_tls13`]: who holds it is the node.
    ///
    /// # Errors
    /// [`Status::REFUSED`] unless the admin lists the plugin in `plugins.trusted_with_key`; the text says so.
    pub fn secret(&self) -> Result<Zeroizing<[u8; 32]>, Error> {
        let mut out = Zeroizing::new([0; 32]);
        let f = self.vtable.secret.ok_or_else(|| missing("secret"))?;
        // SAFETY: `out` has the 32 bytes that the function writes.
        match unsafe { f(self.host.ctx(), out.as_mut_ptr()) } {
            Status::REFUSED => Err(Error::new(
                Status::REFUSED,
                "the node keeps its key from this plugin: if you trust it, add its name to `plugins.trusted_with_key`",
            )),
            status => Error::check(status, "the host gave no key").map(|()| out),
        }
    }
}

fn missing(name: &str) -> Error {
    Error::unsupported(format!("the host does not offer {name}"))
}
