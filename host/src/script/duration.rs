//! Durations as people write them: `"10m"`, `"1h30m"`, `"3d"`, or a number of seconds.

use super::limits::DURATION_BYTES;

/// The longest duration accepted, in seconds: ten years.
const LONGEST_SECS: f64 = 315_360_000.0;

/// Parses a duration into seconds.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{}' is no duration: write a number and ms, s, m, h, d or w, as in \"10m\"", shorten(text));
    if text.len() > DURATION_BYTES {
        return Err(wrong());
    }
    let mut total = 0.0;
    let mut digits = String::new();
    let mut letters = text.trim().chars().peekable();
    while let Some(c) = letters.next() {
        if c.is_ascii_digit() || c == '.' {
            digits.push(c);
            continue;
        }
        if c == ' ' && digits.is_empty() {
            continue; // "1h 30m"
        }
        let unit = match c {
            's' => 1.0,
            'm' if letters.next_if_eq(&'s').is_some() => 0.001,
            'm' => 60.0,
            'h' => 3_600.0,
            'd' => 86_400.0,
            'w' => 604_800.0,
            _ => return Err(wrong()),
        };
        total += digits.parse::<f64>().map_err(|_| wrong())? * unit;
        digits.clear();
    }
    if !digits.is_empty() || text.trim().is_empty() {
        return Err(wrong());
    }
    check(total)
}

/// Checks a number of seconds.
pub(crate) fn check(secs: f64) -> Result<f64, String> {
    match secs {
        s if !s.is_finite() || s < 0.0 => Err("a duration can't be negative or endless".to_owned()),
        s if s > LONGEST_SECS => Err("a duration can't be longer than ten years".to_owned()),
        s => Ok(s),
    }
}

/// The first characters of a text from a script, for a message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(parse("90s"), Ok(90.0));
        assert_eq!(parse("1h30m"), Ok(5_400.0));
        assert_eq!(parse(" 1h  30m "), Ok(5_400.0));
        assert_eq!(parse("3d"), Ok(259_200.0));
        assert_eq!(parse("0.5s"), Ok(0.5));
        assert_eq!(parse("1s20ms"), Ok(1.02));
        for wrong in ["", "10", "m", "1 h", "1h 30", "ten m", "5y", "-5s", "99999w"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
