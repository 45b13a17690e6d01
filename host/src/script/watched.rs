//! Work with bots on a thread that is left behind if it hangs.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::failure::{Failure, Kind};
use super::pulse::Pulse;

/// Stack of the thread: Luau's parser and its C calls are bounded, this is well above both.
const STACK_BYTES: usize = 4 << 20;
/// How often the thread's heartbeat is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum Lost {
    /// It hangs inside a machine; its thread is given up.
    Stuck,
    /// It took longer than this; its thread is given up.
    Late(Duration),
    /// It panicked.
    Died,
    /// There was no thread for it.
    NoThread(std::io::Error),
}

impl From<&Lost> for Failure {
    fn from(lost: &Lost) -> Self {
        match lost {
            Lost::Stuck => Self::new(Kind::Cpu, "stuck inside the machine for more than 500 ms"),
            Lost::Late(life) => {
                let message = format!("not done after {} s, the longest that it may take", life.as_secs());
                Self::new(Kind::Life, message)
            }
            Lost::Died => Self::new(Kind::Panic, "the machine failed inside"),
            Lost::NoThread(error) => Self::new(Kind::Panic, error.to_string()),
        }
    }
}

/// Does something on a thread of its own, which is left behind if it hangs in a C function or lives longer than allowed.
pub(super) fn watched<T: Send + 'static>(
    name: &str,
    life: Duration,
    work: impl FnOnce(&Arc<Pulse>) -> T + Send + 'static,
) -> Result<T, Lost> {
    let (sender, receiver) = channel();
    let pulse = Arc::new(Pulse::default());
    let watch = Arc::clone(&pulse);
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || _ = sender.send(work(&pulse))); // who waited may have given up
    spawned.map_err(Lost::NoThread)?;
    let until = Instant::now() + life;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(Lost::Died),
            Err(RecvTimeoutError::Timeout) => {
                let late = (Instant::now() > until).then_some(Lost::Late(life));
                if let Some(lost) = watch.is_stuck().then_some(Lost::Stuck).or(late) {
                    watch.abandon();
                    return Err(lost);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_too_long_is_told_from_what_hangs() {
        let (done, waits) = channel::<()>();
        let lost = watched("waits", Duration::ZERO, move |_| waits.recv().is_ok()).unwrap_err();
        let failure = Failure::from(&lost);
        assert_eq!((failure.kind.word(), failure.message.contains("not done after 0 s")), ("time-limit", true));
        drop(done);
    }
}
