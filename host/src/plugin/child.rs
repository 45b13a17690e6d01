//! Runs this binary again, for what may crash or hang.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// At most that many bytes of each output are kept, the first ones.
const MAX_OUTPUT: u64 = 1024 * 1024;
/// How often a child is looked after.
const POLL: Duration = Duration::from_millis(5);
/// How long the outputs of a child that has ended may stay open: a grandchild may hold them.
const LINGER: Duration = Duration::from_secs(1);

/// What became of a child.
pub(super) struct Ran {
    /// How it ended; `None` when it was killed at the deadline.
    pub(super) status: Option<ExitStatus>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a command to its end, or kills it at the deadline. Blocks.
pub(super) fn run_within(mut command: Command, deadline: Duration) -> io::Result<Ran> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let status = wait(&mut child, Instant::now() + deadline)?;
    let read = |output: Option<mpsc::Receiver<Vec<u8>>>| {
        output.and_then(|output| output.recv_timeout(LINGER).ok()).unwrap_or_default()
    };
    Ok(Ran { status, stdout: read(stdout), stderr: read(stderr) })
}

fn wait(child: &mut Child, end: Instant) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn collect(mut output: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = output.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
        // The rest is read and dropped, so that the child doesn't wait for room.
        let _ = io::copy(&mut output, &mut io::sink());
        let _ = sender.send(bytes);
    });
    receiver
}
