//! `tracing` events reach the host's log, at the levels that it wants.

use super::fake_host::FakeHost;
use crate::Host;

#[test]
fn events_are_forwarded_with_their_fields() {
    let host = FakeHost::new();
    // SAFETY: fake hosts live for ever.
    let handle = unsafe { Host::from_raw(host.raw()) }.expect("a host");
    handle.forward_tracing();
    tracing::warn!(port = 4433u64, name = "eth0", "cannot bind");
    tracing::debug!("not wanted");
    let lines = host.lines.lock().expect("unpoisoned").clone();
    assert_eq!(lines, [r#"log 2 cannot bind {"name":"eth0","port":4433}"#]);
}
