//! Threads whose work comes in bulk and can wait a little: it steps back behind what other threads pass on in a moment.
//!
//! On a machine whose processors are all busy, each hand-over from one thread to the next waits for its turn, and a link
//! that comes up, or a plugin that is swapped, takes some twenty-five of them. Bulk work is not done less often for it: it
//! only comes second where both are ready to run.

/// By how much such threads are nicer than the rest of the node (see `nice(2)`): a ninth of the weight.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// Lets the calling thread step back, for good: only an administrator can undo it. Threads that it starts do so, too.
#[cfg(target_os = "linux")]
pub(crate) fn step_back() {
    use rustix::process::{getpriority_process, setpriority_process};
    // On Linux "this process" means the calling thread. Being nicer is always permitted; where it fails, nothing is lost.
    if let Ok(nice) = getpriority_process(None) {
        _ = setpriority_process(None, nice + NICER);
    }
}

/// Elsewhere it would concern the whole process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn step_back() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_thread_that_wants_to_steps_back() {
        let before = getpriority_process(None).unwrap();
        let of_bulk = std::thread::spawn(|| {
            step_back();
            getpriority_process(None).unwrap()
        });
        assert_eq!(of_bulk.join().unwrap(), (before + NICER).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
        let of_another = std::thread::spawn(|| getpriority_process(None).unwrap());
        assert_eq!(of_another.join().unwrap(), before);
    }
}
