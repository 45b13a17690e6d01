//! What a clock that was set back would hold up: pauses and answers waited for, noted by the time that it showed before.

use super::Core;
use super::custody::{COPY_AGAIN_MS, RETRY_HOPELESS_SECS};

impl Core {
    /// The clock was set back: nothing waits for longer than it was meant to from now on. Otherwise an envelope that was
    /// refused while the clock was ten years ahead would not be offered again for ten years.
    pub(super) fn clock_set_back(&mut self, now_ms: u64) {
        let longest_ms = now_ms.saturating_add(RETRY_HOPELESS_SECS * 1_000);
        for neighbour in self.neighbours.values_mut() {
            for declined in neighbour.declined.values_mut() {
                declined.until_ms = declined.until_ms.min(now_ms.saturating_add(declined.pause_secs * 1_000));
            }
            for until_ms in neighbour.copied.values_mut() {
                *until_ms = (*until_ms).min(now_ms.saturating_add(COPY_AGAIN_MS));
            }
            neighbour.branch.clock_set_back(now_ms);
            neighbour.talk.clock_set_back(now_ms);
            for at_ms in neighbour.retry.values_mut().chain(&mut neighbour.announce_at_ms) {
                *at_ms = (*at_ms).min(longest_ms);
            }
        }
        for flight in self.links.values_mut().flat_map(|state| state.in_flight.values_mut()) {
            flight.since_ms = flight.since_ms.min(now_ms);
        }
        self.twin_until_ms = self.twin_until_ms.min(longest_ms);
    }
}
