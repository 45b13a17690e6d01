//! Readiness for systemd: the protocol of `sd_notify(3)`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the service manager's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Tells the service manager, if there is one. Whether it listens is its own affair.
pub(super) fn tell(state: &str) {
    let Some(address) = env::var_os(VARIABLE).filter(|address| !address.is_empty()) else { return };
    if let Err(error) = send(&address, state) {
        tracing::debug!(%error, "the service manager can't be told");
    }
}

fn send(address: &OsStr, state: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &socket_address(address)?).map(drop)
}

fn socket_address(address: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_over_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let mut text = [0; 16];
        let len = manager.recv(&mut text).unwrap();
        assert_eq!(&text[..len], b"READY=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_will_do() {
        let name = format!("@qpq-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&socket_address(name.as_ref()).unwrap()).unwrap();
        send(name.as_ref(), "READY=1").unwrap();
        assert_eq!(manager.recv(&mut [0; 16]).unwrap(), 7);
    }
}
