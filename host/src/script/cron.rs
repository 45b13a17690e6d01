//! Moments that come again: `"08:00"` each day, or a cron expression of five fields. All in UTC.

/// Seconds of a day.
const DAY: i64 = 86_400;
/// No clock of a node goes beyond the year 9999.
const LAST_SECOND: i64 = 253_402_300_800;
/// How far ahead a matching minute is looked for: an expression may name 29 February.
const HORIZON_DAYS: i64 = 366 * 5;

/// A set of minutes, hours, days, months and weekdays, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Cron's rule: when both days and weekdays are given, either will do.
    either_day: bool,
}

impl Cron {
    /// Reads `HH:MM` or `minute hour day month weekday`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("'{}': {what}", super::duration::shorten(text));
        if let Some((hour, minute)) = text.trim().split_once(':') {
            let hours = field(hour, 0, 23).map_err(|e| wrong(&e))?;
            let minutes = field(minute, 0, 59).map_err(|e| wrong(&e))?;
            return Ok(Self { minutes, hours, days: !0, months: !0, weekdays: !0, either_day: false });
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(wrong("write \"08:00\", or five fields: minute hour day month weekday"));
        };
        let parse = |text, low, high| field(text, low, high).map_err(|e| wrong(&e));
        let weekdays = parse(weekday, 0, 7)?;
        Ok(Self {
            minutes: parse(minute, 0, 59)?,
            hours: parse(hour, 0, 23)?,
            days: parse(day, 1, 31)?,
            months: parse(month, 1, 12)?,
            weekdays: weekdays | (weekdays >> 7), // 7 is Sunday too
            either_day: day != "*" && weekday != "*",
        })
    }

    /// The first matching minute after `after` (Unix seconds), or none within five years.
    pub(crate) fn next(&self, after: i64) -> Option<i64> {
        if !(0..LAST_SECOND).contains(&after) {
            return None;
        }
        let first = after.div_euclid(60) * 60 + 60;
        let today = first.div_euclid(DAY);
        (today..today + HORIZON_DAYS).filter(|&day| self.matches_day(day)).find_map(|day| {
            let from = (first - day * DAY).max(0) / 60;
            let minute = (from..DAY / 60)
                .find(|m| self.hours & (1u64 << (m / 60)) != 0 && self.minutes & (1u64 << (m % 60)) != 0)?;
            Some(day * DAY + minute * 60)
        })
    }

    fn matches_day(&self, day: i64) -> bool {
        let (month, date) = month_and_date(day);
        let by_date = self.days & (1 << date) != 0;
        let by_weekday = self.weekdays & (1 << (day + 4).rem_euclid(7)) != 0; // 1 January 1970 was a Thursday
        let day_fits = if self.either_day { by_date || by_weekday } else { by_date && by_weekday };
        self.months & (1 << month) != 0 && day_fits
    }
}

/// One field: `*`, `5`, `1-5`, `*/10`, `1,15`, as bits.
fn field(text: &str, low: u32, high: u32) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, number(step, 1, high)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from, low, high)?, number(to, low, high)?),
            None => (number(range, low, high)?, if step > 1 { high } else { number(range, low, high)? }),
        };
        if from > to {
            return Err(backwards(range, (from, to), (low, high)));
        }
        bits |= (from..=to).step_by(step as usize).fold(0, |bits, n| bits | 1u64 << n);
    }
    Ok(bits)
}

/// A range from the larger to the smaller number: to some it goes over midnight, and no cron has that.
fn backwards(range: &str, (from, to): (u32, u32), (low, high): (u32, u32)) -> String {
    let part = |from: u32, to: u32| if from == to { from.to_string() } else { format!("{from}-{to}") };
    let range = super::duration::shorten(range);
    format!("'{range}' goes from a larger number to a smaller one; write {},{}", part(from, high), part(low, to))
}

fn number(text: &str, low: u32, high: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("'{}' must be a number from {low} to {high}", super::duration::shorten(text))),
    }
}

/// Month (1–12) and date (1–31) of a day counted from 1 January 1970, by the proleptic Gregorian calendar.
fn month_and_date(day: i64) -> (u32, u32) {
    // Years are counted from March, so that the leap day comes last; 719,468 days lie between 0000-03-01 and 1970.
    let day = day + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (u32::try_from(month).unwrap_or(1), u32::try_from(date).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-02-28 23:59:30 UTC, a Wednesday.
    const LEAP_EVE: i64 = 1_709_164_770;

    #[test]
    fn a_time_of_day_comes_each_day() {
        let eight = Cron::parse("08:00").unwrap();
        assert_eq!(eight.next(LEAP_EVE), Some(1_709_164_800 + 8 * 3_600));
    }

    #[test]
    fn fields_lists_ranges_and_steps() {
        assert_eq!(Cron::parse("*/15 * * * *").unwrap().next(LEAP_EVE), Some(1_709_164_800));
        // The next Monday after Wednesday 28 February 2024 is 4 March.
        assert_eq!(Cron::parse("30 9 * * 1").unwrap().next(LEAP_EVE), Some(1_709_544_600));
        assert_eq!(Cron::parse("0 0 29 2 *").unwrap().next(LEAP_EVE), Some(1_709_164_800));
        assert_eq!(Cron::parse("0 0 31 2 *").unwrap().next(LEAP_EVE), None);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for wrong in ["", "* * * *", "60 * * * *", "25:00", "* * 0 * *", "a * * * *"] {
            assert!(Cron::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_that_goes_backwards_is_told_how_to_be_written() {
        let told = |text| Cron::parse(text).unwrap_err();
        for (wrong, right) in [
            ("0 22-7 * * *", "0 22-23,0-7 * * *"),
            ("5-1 * * * *", "5-59,0-1 * * * *"),
            ("0 0 30-1 * *", "0 0 30-31,1 * *"),
            ("0 0 * * 6-0", "0 0 * * 6-7,0 * *"),
        ] {
            let part = right.split(' ').find(|part| part.contains(',')).unwrap();
            assert!(
                told(wrong).ends_with(&format!("goes from a larger number to a smaller one; write {part}")),
                "{wrong}"
            );
        }
        assert!(Cron::parse("0 22-23,0-7 * * *").is_ok() && Cron::parse("5-5 * * * *").is_ok());
    }
}
