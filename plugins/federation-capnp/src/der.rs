//! The few fields of a certificate (X.509, RFC 5280, 4.1) that are shown to people: when it is valid, who made it, for whom.
//! Nothing is decided by them; that is for the verifier.

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Those fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Unix time in seconds.
    pub(crate) not_before: i64,
    /// Unix time in seconds.
    pub(crate) not_after: i64,
    /// Encoded name of who made it.
    pub(crate) issuer: Vec<u8>,
    /// Encoded name of whom it is for.
    pub(crate) subject: Vec<u8>,
}

/// Reads them; `None` when it is no certificate.
pub(crate) fn fields(certificate: &[u8]) -> Option<Fields> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (tbs, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(tbs, VERSION).map_or(tbs, |(_, rest)| rest);
    let (_, rest) = expect(rest, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (subject, _) = expect(rest, SEQUENCE)?;
    let (not_before, validity) = time(validity)?;
    let (not_after, _) = time(validity)?;
    Some(Fields { not_before, not_after, issuer: issuer.to_vec(), subject: subject.to_vec() })
}

/// A value with that tag, and what follows it.
fn expect(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = value(input)?;
    (tag == wanted).then_some((content, rest))
}

/// A value: tag, content, and what follows it. Lengths of up to three bytes.
fn value(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let (bytes, rest) = rest.split_at_checked(count).filter(|_| (1..=3).contains(&count))?;
        (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}

/// A UTCTime or GeneralizedTime in the form of RFC 5280 (4.1.2.5), and what follows it.
fn time(input: &[u8]) -> Option<(i64, &[u8])> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let (tag, text, rest) = value(input)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC if text.get(..2)? >= "50" => format!("19{text}"),
        UTC => format!("20{text}"),
        GENERALIZED => text.to_owned(),
        _ => return None,
    };
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let days = days_since_1970(part(0..4)?, part(4..6)?, part(6..8)?);
    Some((days * DAY + part(8..10)? * 3_600 + part(10..12)? * 60 + part(12..14)?, rest))
}

/// Days from 1970-01-01 to that day of the Gregorian calendar. The year is taken to begin in March, so that the leap day is
/// its last, and 400 years are always 146,097 days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2024, 3, 1), 19_783);
        assert_eq!(days_since_1970(2100, 3, 1), 47_541);
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let utc = [&[0x17, 13][..], b"240301000001Z"].concat();
        assert_eq!(time(&utc), Some((19_783 * DAY + 1, &[][..])));
        let general = [&[0x18, 15][..], b"20240301010203Z"].concat();
        assert_eq!(time(&general), Some((19_783 * DAY + 3_723, &[][..])));
        assert_eq!(time(&[&[0x17, 3][..], b"99Z"].concat()), None);
    }

    #[test]
    fn a_certificate_is_read_and_no_damaged_one_panics() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2024, 3, 1);
        params.not_after = rcgen::date_time_ymd(2051, 1, 1);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let read = fields(&der).unwrap();
        assert_eq!((read.not_before, read.not_after), (19_783 * DAY, days_since_1970(2051, 1, 1) * DAY));
        assert_eq!(read.issuer, read.subject);
        for len in 0..der.len() {
            let _ = fields(&der[..len]);
        }
        for place in 0..der.len().min(300) {
            let mut damaged = der.clone();
            damaged[place] ^= 0xff;
            let _ = fields(&damaged);
        }
    }
}
