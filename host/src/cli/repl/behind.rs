//! A node that runs in this process, behind the prompt.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::Runtime;

use super::farewell;
use crate::api::NodeApi;
use crate::cli::args::UpArgs;
use crate::cli::daemon;
use crate::cli::failure::Failure;
use crate::cli::term::Style;

/// The node's thread.
pub(super) struct Behind {
    thread: JoinHandle<Result<(), Failure>>,
    /// Set when the prompt itself ends the node, and will clean up behind it.
    expected: Arc<AtomicBool>,
}

/// How the start went.
enum Report {
    Ready,
    Ended(Result<(), Failure>),
}

impl Behind {
    /// Starts a node and waits until clients can connect.
    pub(super) fn start(home: &Path, up: &UpArgs) -> Result<Self, Failure> {
        let (report, reported) = mpsc::channel();
        let (home, up) = (home.to_owned(), up.clone());
        let expected = Arc::new(AtomicBool::new(false));
        let end = End { expected: Arc::clone(&expected), terminal: tcgetattr(std::io::stdin()).ok() };
        let run = move || {
            let ready = report.clone();
            let mut started = false;
            let outcome = daemon::run_behind(&home, &up, || {
                started = true;
                let _ = ready.send(Report::Ready);
            });
            if !started {
                let _ = report.send(Report::Ended(outcome));
                return Ok(());
            }
            end.meet(outcome)
        };
        let thread = std::thread::Builder::new().name("qpq-up".into()).spawn(run).map_err(Failure::io)?;
        match reported.recv() {
            Ok(Report::Ready) => Ok(Self { thread, expected }),
            Ok(Report::Ended(Err(failure))) => Err(failure),
            _ => Err(Failure::new("not-started", "The node ended before it was ready.")),
        }
    }

    /// From now on the node's end is what the prompt wants.
    pub(super) fn expect_end(&self) {
        self.expected.store(true, Ordering::SeqCst);
    }

    /// Drains and stops the node.
    pub(super) fn stop(self, node: &dyn NodeApi, runtime: &Runtime) -> Result<(), Failure> {
        self.expect_end();
        // When the node is gone already, its thread says how it ended.
        let _ = runtime.block_on(async { tokio::time::timeout(daemon::DEADLINE, node.shutdown()).await });
        let start = std::time::Instant::now();
        while !self.thread.is_finished() {
            if start.elapsed() > daemon::DEADLINE {
                let text = "The node did not stop in time and was ended. Nothing acknowledged is lost.";
                return Err(Failure::new("not-drained", text));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.thread.join().unwrap_or_else(|_| Err(Failure::new("panicked", "The node panicked. See node.log.")))
    }
}

/// What happens when the node ends.
struct End {
    expected: Arc<AtomicBool>,
    terminal: Option<Termios>,
}

impl End {
    /// An end that the prompt wanted is the prompt's affair. After any other, such as a signal or `qpq stop`
    /// elsewhere, the prompt has no node and hangs in reading: the process ends here, with the terminal as it was.
    fn meet(self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        if self.expected.load(Ordering::SeqCst) {
            return outcome;
        }
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, terminal);
        }
        farewell("The node has been stopped.", Style::PLAIN);
        if let Err(failure) = &outcome {
            failure.print(false);
        }
        std::process::exit(outcome.map_or_else(|failure| i32::from(failure.exit_code()), |()| 0));
    }
}
