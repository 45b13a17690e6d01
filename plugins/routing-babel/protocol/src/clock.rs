//! The host's clock made monotonic.

/// A longer step between two calls than the host ever waits is a clock that was set, in milliseconds.
const MAX_STEP_MS: u64 = 120_000;

/// Turns the host's time into one that goes on steadily whatever is done to the clock. Timers are kept in it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The host's time of the last call.
    host_ms: u64,
    /// Milliseconds since the first call, jumps left out.
    steady_ms: u64,
}

impl Clock {
    /// Begins at 0.
    pub fn new(host_ms: u64) -> Self {
        Self { host_ms, steady_ms: 0 }
    }

    /// The steady time of a call at `host_ms`. A clock that was set back, or far ahead, stands still for that one call.
    pub fn advance(&mut self, host_ms: u64) -> u64 {
        let step = host_ms.checked_sub(self.host_ms).filter(|step| *step <= MAX_STEP_MS).unwrap_or(0);
        self.host_ms = host_ms;
        self.steady_ms += step;
        self.steady_ms
    }

    /// The steady time of the last call.
    pub fn now(&self) -> u64 {
        self.steady_ms
    }

    /// The host's time of the last call, in whole seconds.
    pub fn host_secs(&self) -> u64 {
        self.host_ms / 1_000
    }

    /// When, on the host's clock, the steady time will be `steady_ms`.
    pub fn on_host(&self, steady_ms: u64) -> u64 {
        self.host_ms.saturating_add(steady_ms.saturating_sub(self.steady_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_when_the_hosts_clock_is_set() {
        let mut clock = Clock::new(1_000_000);
        assert_eq!(clock.advance(1_000_500), 500);
        assert_eq!(clock.advance(200), 500);
        assert_eq!(clock.advance(700), 1_000);
        assert_eq!(clock.advance(10_000_000_000), 1_000);
        assert_eq!(clock.advance(10_000_000_007), 1_007);
        assert_eq!(clock.on_host(1_010), 10_000_000_010);
        assert_eq!(clock.on_host(5), 10_000_000_007);
    }
}
