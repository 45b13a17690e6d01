//! What the machine's own mesh routing knows: babeld and batman-adv, where they run. Read-only.
//!
//! babeld is asked over its local socket (`babeld -G`/`-g`, command `dump`); batman-adv through `batctl`, which prints JSON.
//! Where neither is there the report is empty and says so.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinError;

use crate::api::{MachineNeighbour, MachineReport};

mod babel;
mod batman;

/// Text of one answer that is read at most, in bytes: thousands of routes.
const ANSWER_BYTES: u64 = 1 << 20;
/// How long one source may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A report stays good for so long.
const FRESH: Duration = Duration::from_secs(5);
/// Where babeld's socket is looked for when the admin names none.
const BABEL_SOCKETS: [&str; 2] = ["/run/babeld.sock", "/var/run/babeld.sock"];
/// Neighbours and gateways in a report.
const LISTED: usize = 1_024;

/// Where to ask.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// A path of a Unix socket, or HOST:PORT.
    babel: Option<String>,
    batctl: Option<PathBuf>,
    /// Locked while somebody looks: of all who ask at once one does, and the others need no thread to wait.
    kept: Arc<Mutex<Option<(Instant, MachineReport)>>>,
}

impl Machine {
    pub(crate) fn new(babel: Option<String>, batctl: Option<PathBuf>) -> Self {
        Self { babel, batctl, kept: Arc::default() }
    }

    /// Asks both, on a thread made for what blocks. Takes a few seconds at most.
    ///
    /// # Errors
    /// When the node is stopping.
    pub(crate) async fn look(self: &Arc<Self>) -> Result<MachineReport, JoinError> {
        let mut kept = Arc::clone(&self.kept).lock_owned().await;
        if let Some((at, report)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(report.clone());
        }
        let machine = Arc::clone(self);
        // The lock goes along: should whoever asks give up meanwhile, nobody else begins a second look.
        let looking = move || kept.insert((Instant::now(), machine.ask())).1.clone();
        tokio::task::spawn_blocking(looking).await
    }

    fn ask(&self) -> MachineReport {
        let mut report = MachineReport::default();
        self.ask_babel(&mut report);
        self.ask_batman(&mut report);
        report.neighbours.truncate(LISTED);
        report.gateways.truncate(LISTED);
        report
    }

    fn ask_babel(&self, report: &mut MachineReport) {
        let found = || BABEL_SOCKETS.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned);
        let Some(place) = self.babel.clone().or_else(found) else { return };
        match dump(&place) {
            Ok(text) => {
                report.sources.push("babel".to_owned());
                babel::read(&text, report);
            }
            Err(error) => report.problems.push(format!("babeld at {place}: {error}")),
        }
    }

    fn ask_batman(&self, report: &mut MachineReport) {
        // Without the kernel's module there is nobody to ask.
        if self.batctl.is_none() && !Path::new("/sys/module/batman_adv").exists() {
            return;
        }
        let batctl = self.batctl.clone().unwrap_or_else(|| PathBuf::from("batctl"));
        let ask = |what: &str| run(&batctl, what);
        match ask("neighbors_json").and_then(|neighbours| Ok((neighbours, ask("gateways_json")?))) {
            Ok((neighbours, gateways)) => {
                report.sources.push("batman".to_owned());
                let read = batman::read(&neighbours, &gateways, report);
                report.problems.extend(read.err().map(|error| format!("batctl: {error}")));
            }
            Err(error) => report.problems.push(format!("{}: {error}", batctl.display())),
        }
    }
}

/// babeld's answer to `dump`.
fn dump(place: &str) -> std::io::Result<String> {
    if place.starts_with('/') {
        let stream = UnixStream::connect(place)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        return talk(stream);
    }
    let address = std::net::ToSocketAddrs::to_socket_addrs(place)?.next();
    let address = address.ok_or_else(|| std::io::Error::other("no such address"))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    talk(stream)
}

/// Greeting, command, answer; both end with a line `ok`.
fn talk(mut stream: impl Read + Write) -> std::io::Result<String> {
    let until = Instant::now() + PATIENCE;
    let (mut text, mut asked) = (Vec::new(), false);
    let mut buffer = [0; 4_096];
    loop {
        let len = stream.read(&mut buffer)?;
        text.extend_from_slice(buffer.get(..len).unwrap_or_default());
        let done = text.ends_with(b"ok\n");
        if done && !asked {
            text.clear();
            stream.write_all(b"dump\n")?;
            asked = true;
        } else if done || (len == 0 && asked) {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        } else if len == 0 {
            return Err(std::io::Error::other("it closed before it greeted"));
        } else if text.len() as u64 > ANSWER_BYTES || Instant::now() > until {
            return Err(std::io::Error::other("its answer is too long or too slow"));
        }
    }
}

/// What `batctl` prints. It is stopped when it takes too long.
fn run(batctl: &Path, what: &str) -> std::io::Result<String> {
    let mut child = Command::new(batctl)
        .arg(what)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = child.stdout.take();
    let reader = std::thread::Builder::new().name("batctl".to_owned()).spawn(move || {
        let mut text = Vec::new();
        out.map_or(Ok(0), |out| out.take(ANSWER_BYTES).read_to_end(&mut text)).map(|_| text)
    })?;
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::other("it didn't end in time"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = reader.join().map_err(|_| std::io::Error::other("its answer was not read"))??;
    if !status.success() {
        return Err(std::io::Error::other(format!("it ended with {status}")));
    }
    String::from_utf8(text).map_err(|_| std::io::Error::other("its answer is no text"))
}

/// A neighbour of one protocol.
fn neighbour(protocol: &str, address: &str, interface: &str) -> MachineNeighbour {
    MachineNeighbour {
        protocol: protocol.to_owned(),
        address: super::api::clean(address, 64),
        interface: super::api::clean(interface, 32),
        ..MachineNeighbour::default()
    }
}

#[cfg(test)]
mod tests;
