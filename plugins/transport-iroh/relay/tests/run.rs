//! The relay as an admin runs it: the real program, its files, its signals.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// How long to wait for what takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

fn qpq_relay(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_qpq-relay")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A running relay with files of its own. Killed when dropped.
struct Relay {
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Relay {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let qad = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = folder.path().to_str().unwrap();
        let (port_text, qad_text) = (port.to_string(), qad.to_string());
        qpq_relay(&["init", path, "--host", "127.0.0.1", "--port", &port_text, "--qad-port", &qad_text]);
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_qpq-relay"))
            .args(["run", "--config", &format!("{path}/relay.toml")])
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut buffer = [0; 64];
        let length = notify.recv(&mut buffer).expect("the relay says that it is ready");
        assert_eq!(&buffer[..length], b"READY=1");
        Self { folder, port, process }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Asks the relay for its health over TLS. Returns the answer, and the certificate that was shown.
    fn ask(&self) -> (String, CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca/ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(tls, tcp);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // How the connection ends is the server's affair.
        let _ = stream.read_to_end(&mut answer);
        let shown = stream.conn.peer_certificates().unwrap().first().unwrap().clone().into_owned();
        (String::from_utf8_lossy(&answer).into_owned(), shown)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn renew(folder: &Path) {
    let folder = folder.to_str().unwrap();
    qpq_relay(&["cert", "--ca", &format!("{folder}/ca"), "--host", "127.0.0.1", "--out", folder]);
}

#[test]
fn a_relay_made_by_init_is_ready_answers_and_ends_when_asked() {
    for signal in ["TERM", "INT"] {
        let mut relay = Relay::start();
        let (answer, _) = relay.ask();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        relay.signal(signal);
        let status = relay.process.wait().unwrap();
        assert!(status.success(), "{status}: {}", relay.log());
    }
}

#[test]
fn a_renewed_certificate_is_taken_without_a_restart() {
    let relay = Relay::start();
    let (_, before) = relay.ask();
    renew(relay.folder.path());
    relay.signal("HUP");
    wait_for("the new certificate is shown", || relay.ask().1 != before);
}

#[test]
fn a_bad_renewal_leaves_the_old_certificate_and_says_why() {
    let relay = Relay::start();
    let (_, before) = relay.ask();
    fs::write(relay.path("relay.pem"), "nonsense").unwrap();
    relay.signal("HUP");
    wait_for("the log says why", || relay.log().contains("the old certificate stays"));
    assert_eq!(relay.ask().1, before);
}

#[test]
fn init_prints_what_goes_into_the_nodes_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").display().to_string();
    let output = qpq_relay(&["init", &path, "--host", "192.0.2.1", "--host", "relay.example"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("relays = [\"https://192.0.2.1\"]") && told.contains("ca.pem"), "{told}");
    let key = fs::read(folder.path().join("new/ca/ca.key")).unwrap();
    let again = Command::new(env!("CARGO_BIN_EXE_qpq-relay")).args(["init", &path, "--host", "192.0.2.1"]).output();
    assert_eq!(again.unwrap().status.code(), Some(1));
    assert_eq!(fs::read(folder.path().join("new/ca/ca.key")).unwrap(), key);
}

#[test]
fn a_second_relay_shares_the_authority_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    qpq_relay(&["init", &path("one"), "--host", "192.0.2.1"]);
    qpq_relay(&["init", &path("two"), "--host", "192.0.2.2", "--ca", &path("one/ca")]);
    assert_eq!(fs::read(path("one/ca/ca.pem")).unwrap(), fs::read(path("two/ca.pem")).unwrap());
    qpq_relay(&["check", "--config", &path("two/relay.toml")]);
}

#[test]
fn a_port_that_is_taken_is_told_with_the_key_to_change() {
    let relay = Relay::start();
    let config = relay.path("relay.toml").display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_qpq-relay")).args(["run", "--config", &config]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("`https`") && told.contains("ss -lntup"), "{told}");
}
