//! How an entry names a post: by the first digits of its id.

use std::fmt;
use std::ops::RangeInclusive;

use qpq_schemas::MessageId;

/// Digits that a reference has at least: few enough to type, and that any two of a thousand posts share them happens on
/// one board in thirty.
pub(crate) const MIN_DIGITS: u8 = 6;
/// Digits of a whole id.
const ALL_DIGITS: u8 = 64;

/// The first digits of a post's id; all of them, where a program wrote it. References that can mean one post stand near
/// each other: see [`Reference::all_to`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// The digits, filled up with zeros.
    lowest: MessageId,
    digits: u8,
}

impl Reference {
    /// Reads 6 to 64 hexadecimal digits; a `#` before them is left out.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('#').unwrap_or(text);
        let digits = u8::try_from(text.len()).ok().filter(|digits| (MIN_DIGITS..=ALL_DIGITS).contains(digits))?;
        let mut lowest = [0; 32];
        for (at, digit) in text.chars().enumerate() {
            let value = u8::try_from(digit.to_digit(16)?).ok()?;
            *lowest.get_mut(at / 2)? |= if at % 2 == 0 { value << 4 } else { value };
        }
        Some(Self { lowest: MessageId(lowest), digits })
    }

    /// Names one post and no other.
    pub(crate) const fn to(id: &MessageId) -> Self {
        Self { lowest: *id, digits: ALL_DIGITS }
    }

    /// The shortest one that names this post and neither of those beside it in the order of ids.
    pub(crate) fn shortest(id: &MessageId, beside: impl Iterator<Item = MessageId>) -> Self {
        let needed = beside.map(|other| shared(id, &other) + 1).max().unwrap_or(MIN_DIGITS);
        Self::cut(id, needed.clamp(MIN_DIGITS, ALL_DIGITS))
    }

    pub(crate) fn matches(&self, id: &MessageId) -> bool {
        Self::cut(id, self.digits).lowest == self.lowest
    }

    /// The ids that it can mean.
    pub(crate) fn ids(&self) -> RangeInclusive<MessageId> {
        let ones = Self::cut(&MessageId([0xff; 32]), self.digits).lowest;
        let highest = std::array::from_fn(|at| self.lowest.0[at] | !ones.0[at]);
        self.lowest..=MessageId(highest)
    }

    /// Between these stand all references that can mean the post, and few others.
    pub(crate) fn all_to(id: &MessageId) -> RangeInclusive<Self> {
        Self::widest(id)..=Self::to(id)
    }

    /// The shortest one to the post. It can mean whatever the post can be mistaken for.
    pub(crate) fn widest(id: &MessageId) -> Self {
        Self::cut(id, MIN_DIGITS)
    }

    /// All that begin as this one does.
    pub(crate) fn below(&self) -> RangeInclusive<Self> {
        *self..=Self::to(self.ids().end())
    }

    /// The shortest one to what this one can mean.
    pub(crate) fn widened(&self) -> Self {
        Self::widest(&self.lowest)
    }

    fn cut(id: &MessageId, digits: u8) -> Self {
        let mut lowest = id.0;
        for (at, byte) in lowest.iter_mut().enumerate() {
            *byte &= match usize::from(digits).saturating_sub(at * 2) {
                0 => 0,
                1 => 0xf0,
                _ => 0xff,
            };
        }
        Self { lowest: MessageId(lowest), digits }
    }
}

/// How many digits two ids begin with in common.
fn shared(a: &MessageId, b: &MessageId) -> u8 {
    let bytes = a.0.iter().zip(&b.0);
    let mut digits = 0;
    for (a, b) in bytes {
        match a ^ b {
            0 => digits += 2,
            1..=15 => return digits + 1,
            _ => return digits,
        }
    }
    digits
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.lowest.to_string();
        f.write_str(all.get(..usize::from(self.digits)).unwrap_or(&all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_six_digits_or_more_of_an_id() {
        let id = MessageId([0xab; 32]);
        for text in ["ababab", "ABABABA", "#abababa", &id.to_string()] {
            let reference = Reference::parse(text).unwrap();
            assert!(reference.matches(&id) && reference.ids().contains(&id), "{text}");
            assert!(Reference::all_to(&id).contains(&reference), "{text}");
            assert_eq!(reference.to_string(), text.trim_start_matches('#').to_lowercase());
        }
        for text in ["ababac", "ababab0", "0babab"] {
            let other = Reference::parse(text).unwrap();
            assert!(!other.matches(&id) && !other.ids().contains(&id), "{text}");
        }
        for text in ["", "#", "ababa", "abcdeg", "ababab ", "äbabab", &"a".repeat(65)] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_short_form_has_as_many_digits_as_it_takes() {
        let id = MessageId([0xab; 32]);
        let mut near = id;
        near.0[4] = 0xac;
        assert_eq!(Reference::shortest(&id, [].into_iter()).to_string(), "ababab");
        assert_eq!(
            Reference::shortest(&id, [MessageId([0; 32]), near].into_iter()).to_string(),
            "abababab".to_owned() + "ab"
        );
        assert_eq!(Reference::shortest(&id, [id].into_iter()), Reference::to(&id));
    }
}
