//! Counts the host's calls into an instance, so that none is inside when it is freed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLOSED: usize = 1 << (usize::BITS - 1);
/// How often a closing gate looks whether the last call has left: most leave within microseconds.
const POLL: Duration = Duration::from_millis(1);
/// Looks before it waits in between.
const FIRST_LOOKS: u32 = 16;

/// Open until it is closed. A call that is inside may enter again, so a plugin that calls back at the wrong moment can't
/// lock itself out.
#[derive(Default)]
pub(super) struct Gate(AtomicUsize);

/// A call that is inside.
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    /// Enters; `None` once the gate is closed.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        let pass = Pass(self);
        if before & CLOSED == 0 { Some(pass) } else { None }
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Waits until the last call has left; `false` when the time runs out first.
    pub(super) async fn emptied(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut looks = 0;
        while self.0.load(Ordering::Acquire) & !CLOSED != 0 {
            if Instant::now() >= end {
                return false;
            }
            looks += 1;
            match looks <= FIRST_LOOKS {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(POLL).await,
            }
        }
        true
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_gate_waits_for_those_inside_and_lets_nobody_in() {
        let gate = Gate::default();
        let pass = gate.enter().expect("open");
        gate.close();
        assert!(gate.enter().is_none());
        assert!(!gate.emptied(Duration::from_millis(5)).await);
        drop(pass);
        assert!(gate.emptied(Duration::ZERO).await);
    }
}
