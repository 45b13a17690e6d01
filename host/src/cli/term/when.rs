//! Times and sizes for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time by this machine's clock, Unix time in milliseconds.
pub(in crate::cli) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A span of time in its largest unit, such as `3 min`.
pub(in crate::cli) fn duration(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min", secs / 60),
        3_600..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// How long ago that was, or how far ahead it is.
pub(in crate::cli) fn ago(then_ms: u64, now_ms: u64) -> String {
    if then_ms > now_ms {
        return format!("in {}", duration((then_ms - now_ms) / 1_000));
    }
    match (now_ms - then_ms) / 1_000 {
        0..5 => "just now".to_owned(),
        secs => format!("{} ago", duration(secs)),
    }
}

/// The time of day (UTC) of a moment within the last day; of an older one, how long ago it was.
pub(in crate::cli) fn clock(then_ms: u64, now_ms: u64) -> String {
    const DAY_SECS: u64 = 86_400;
    if now_ms.saturating_sub(then_ms) / 1_000 >= DAY_SECS {
        return ago(then_ms, now_ms);
    }
    let secs = then_ms / 1_000 % DAY_SECS;
    format!("{:02}:{:02}:{:02}Z", secs / 3_600, secs / 60 % 60, secs % 60)
}

/// A size in its largest unit, such as `1.5 MiB`.
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", bytes / size, bytes % size * 10 / size),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        assert_eq!(ago(1_000, 3_000), "just now");
        assert_eq!(ago(0, 65_000), "1 min ago");
        assert_eq!(ago(7_200_000, 0), "in 2 h");
        assert_eq!(duration(86_400 * 7), "7 days");
        assert_eq!(clock(1_700_000_000_000, 1_700_000_100_000), "22:13:20Z");
        assert_eq!(clock(1_700_000_000_000, 1_700_200_000_000), "2 days ago");
    }

    #[test]
    fn sizes_are_told_in_their_largest_unit() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "17179869183.9 GiB");
    }
}
